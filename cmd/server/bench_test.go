package server

import (
	"io"
	"testing"

	"sluice/cmd/orderbook"
	"sluice/transport"
	"sluice/transport/wire"
)

// BenchmarkRequests sends orders over TCP, 256 at a time, and reads their answers: client, reader, sequencer, book, journal
// with fdatasync, gate, encoder and shard. The journal, not the code, is most of a lone request's time.
func BenchmarkRequests(b *testing.B) {
	for _, mode := range []transport.Mode{transport.ModePoll, transport.ModeUring} {
		for _, open := range []int{1, 256} {
			b.Run(mode.String()+map[int]string{1: " one at a time", 256: " 256 open"}[open], func(b *testing.B) {
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
					if err := c.conn.Send(id, cmd.Tag, frame[wire.PrefixSize+wire.RequestHeaderSize:]); err != nil {
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
