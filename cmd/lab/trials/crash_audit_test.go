package trials

import (
	"bytes"
	"fmt"
	"path/filepath"

	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability/journal"
)

// inspect compares the journal on disk with its earlier content, with what clients sent and with
// what they received.
func (e *era) inspect() {
	e.t.Helper()
	log, err := journal.Inspect(filepath.Join(e.dir, "data/journal"))
	if err != nil && e.last == 0 && e.checked == len(e.sessions) {
		return // killed while it created its directory; the next life must cope with that
	}
	if err != nil {
		e.fail("%v", err)
	}
	if log.Torn != "" {
		e.sum.torn++
	}
	if log.First > 1 {
		e.sum.trimmed++
	}
	if uint64(log.First) > e.last+1 || uint64(log.Last) < e.last {
		e.fail("the journal holds %d..%d, it held events up to %d", log.First, log.Last, e.last)
	}
	for ev, err := range log.Events() {
		if err != nil {
			e.fail("%v", err)
		}
		e.event(uint64(ev.Seq), ev.Payload)
	}
	e.last = uint64(log.Last)
	for _, s := range e.sessions[e.checked:] {
		for _, ack := range s.acks {
			if seq, ok := e.placed[placement{s.account, ack.ClientOrderID}]; !ok || seq != ack.Seq {
				e.fail("account %d: order %d was acknowledged as event %d; in the journal it is event %d (0: it is not there)",
					s.account, ack.ClientOrderID, ack.Seq, seq)
			}
			e.sum.unheard--
		}
		e.sum.acked += len(s.acks)
		e.sum.reports += len(s.reports)
	}
	e.checked = len(e.sessions)
}

// event checks one event of the journal, known or new.
func (e *era) event(seq uint64, payload []byte) {
	if old, ok := e.events[seq]; ok {
		if !bytes.Equal(old, payload) {
			e.fail("event %d is another one than it was", seq)
		}
		return
	}
	e.events[seq] = bytes.Clone(payload)
	var req sequencer.Event
	var c orderbook.Command
	if err := sequencer.DecodeEvent(payload, &req); err != nil {
		e.fail("event %d: %v", seq, err)
	}
	if req.Kind != sequencer.KindRequest {
		return
	}
	if err := orderbook.DecodeRequest(req.Tag, req.Body, &c); err != nil {
		e.fail("event %d: %v", seq, err)
	}
	p := placement{c.Account, c.ClientOrderID}
	if c.Account < 1 || c.Account > traders || c.ClientOrderID > e.used[c.Account-1] || c != *orderOf(p) {
		e.fail("event %d was not sent by any client: %+v", seq, c)
	}
	if other, ok := e.placed[p]; ok {
		e.fail("order %d of account %d is event %d and event %d", p.id, p.account, other, seq)
	}
	e.placed[p] = seq
	e.sum.events++
	e.sum.unheard++
}

// fail ends the test and names the directory of the data.
func (e *era) fail(format string, args ...any) {
	e.t.Helper()
	e.t.Fatalf("after kill %d, data in %s: %s", e.sum.kills, e.dir, fmt.Sprintf(format, args...))
}

// replay applies the whole journal to a new book. What each session received must be a prefix of
// the book's reports to its connection, which is the connection of its first acknowledged order.
func (e *era) replay() {
	e.t.Helper()
	book, err := orderbook.New(orderbook.Config{})
	if err != nil {
		e.t.Fatal(err)
	}
	says := &echo{frames: map[uint64][][]byte{}}
	conns := make(map[uint64]uint64, len(e.events)) // connection of each event
	for seq := uint64(1); seq <= e.last; seq++ {
		var ev sequencer.Event
		if err := sequencer.DecodeEvent(e.events[seq], &ev); err != nil {
			e.fail("event %d: %v", seq, err)
		}
		ev.Seq = seq
		conns[seq] = ev.Conn
		sequencer.Deliver(book, &ev, says)
		if err := says.keep(); err != nil {
			e.fail("event %d: %v", seq, err)
		}
	}
	for _, s := range e.sessions {
		if len(s.acks) == 0 {
			if len(s.reports) > 0 {
				e.fail("account %d received reports before its first order was acknowledged", s.account)
			}
			continue
		}
		want := says.frames[conns[s.acks[0].Seq]]
		for i, got := range s.reports {
			if i >= len(want) || !bytes.Equal(got, want[i]) {
				e.fail("account %d: report %d of a connection is % x; the journal has %d reports for it, and says otherwise", s.account, i+1, got, len(want))
			}
		}
	}
}

// echo keeps the reports of a replay as bytes. It implements upstream.Emitter.
type echo struct {
	frames map[uint64][][]byte
	conns  []uint64
	open   []*orderbook.Report
}

func (r *echo) Report(conn uint64) *orderbook.Report {
	r.conns, r.open = append(r.conns, conn), append(r.open, new(orderbook.Report))
	return r.open[len(r.open)-1]
}

func (r *echo) Query(uint64) *orderbook.Answer { panic("an event answers no queries") }

func (r *echo) Publish(_, _ uint64) *orderbook.Report { return new(orderbook.Report) }

// keep encodes the reports of one event.
func (r *echo) keep() error {
	for i, report := range r.open {
		b, err := orderbook.Encoder{}.AppendReport(nil, report)
		if err != nil {
			return err
		}
		r.frames[r.conns[i]] = append(r.frames[r.conns[i]], b[4:])
	}
	r.conns, r.open = r.conns[:0], r.open[:0]
	return nil
}
