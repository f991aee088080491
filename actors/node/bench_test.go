package node

import (
	"context"
	"io"
	"iter"
	"testing"

	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/transport"
	"sluice/transport/wire"
)

// BenchmarkRequests sends orders over TCP, 256 at a time, and reads their answers: client, reader,
// sequencer, book, journal with fdatasync, gate, encoder and shard. The journal, not the code, is
// most of a lone request's time.
func BenchmarkRequests(b *testing.B) {
	for _, mode := range []transport.Mode{transport.ModePoll, transport.ModeUring} {
		for _, open := range []int{1, 256} {
			b.Run(mode.String()+map[int]string{1: " one at a time", 256: " 256 open"}[open],
				func(b *testing.B) {
					_, at := serve(b, config(b.TempDir(), mode, io.Discard))
					c := dial(b, "tcp", at[0])
					b.ReportAllocs()
					id, left := uint64(0), 0
					var frame []byte
					cmd := order(1, 0, orderbook.Buy, 100, 1)
					cmd.TimeInForce = orderbook.ImmediateOrCancel
					for b.Loop() {
						id++
						cmd.ClientOrderID = id
						frame, _ = orderbook.AppendRequest(frame[:0], id, cmd)
						if err := c.conn.Send(id, cmd.Tag,
							frame[wire.PrefixSize+wire.RequestHeaderSize:]); err != nil {
							b.Fatal(err)
						}
						if left++; left < open {
							continue
						}
						if err := c.conn.Flush(); err != nil {
							b.Fatal(err)
						}
						for left > 0 {
							tag, _, err := c.conn.Next()
							if err != nil {
								b.Fatal(err)
							}
							if tag == wire.TagBatchEnd {
								left--
							}
						}
					}
				})
		}
	}
}

// BenchmarkReplay is what a restart costs for each event after the last snapshot, the reading of
// the log aside: orders that rest and are then met.
func BenchmarkReplay(b *testing.B) {
	var events memory
	for i := range uint64(100_000) {
		cmd := order(1+i%2, 1+i, orderbook.Side(1+i%2), int64(100+i%64/2), 1)
		req := sequencer.Event{Kind: sequencer.KindRequest, Conn: 1 + i%2, Request: i, Tag: cmd.Tag,
			Body: body(cmd)}
		events = append(events, sequencer.AppendEvent(nil, &req))
	}
	b.ReportAllocs()
	for b.Loop() {
		book, err := orderbook.New(orderbook.Config{})
		if err != nil {
			b.Fatal(err)
		}
		if _, n, err := sequencer.Replay[orderbook.Report, orderbook.Answer](context.Background(),
			book, orderbook.Encoder{}, events, nil); err != nil || n != uint64(len(events)) {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(events)), "ns/event")
}

// memory is a journal without snapshot in memory.
type memory [][]byte

func (memory) Restore(func(io.Reader) error) error { return nil }

func (m memory) Events() iter.Seq2[journal.Event, error] {
	return func(yield func(journal.Event, error) bool) {
		for i, payload := range m {
			if !yield(journal.Event{Seq: durability.Seq(i + 1), Payload: payload}, nil) {
				return
			}
		}
	}
}
