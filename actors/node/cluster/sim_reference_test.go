package cluster

import (
	"bytes"

	"sluice/actors"
	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability"
)

// simReference is a book that executes the committed events one after the other, and knows what every
// connection is to be told. Queries are answered on the way, at the events of their responses.
type simReference struct {
	c       *simOracle
	book    *orderbook.Book
	seq     durability.Seq
	gone    uint64
	outputs map[uint64][]simOutput        // by connection
	queries map[durability.Seq][]*simTold // by the event of the response
	live    map[uint64]bool               // connections that began and have not ended
	// frames of topics, and snapshots of them that clients received, by the event of the state
	frames    map[uint64][]simFrame
	described map[durability.Seq][]*simDescribed
}

// simOutput is a report.
type simOutput struct {
	seq    durability.Seq
	report orderbook.Report
}

func newSimReference(c *simOracle) *simReference {
	app, err := simFresh()
	if err != nil {
		panic(err)
	}
	r := &simReference{c: c, book: app.(simBook).Book, outputs: map[uint64][]simOutput{},
		queries: map[durability.Seq][]*simTold{}, live: map[uint64]bool{},
		frames: map[uint64][]simFrame{}, described: map[durability.Seq][]*simDescribed{}}
	for _, conn := range c.conns {
		r.descriptions(conn)
		for i := range conn.told {
			if t := &conn.told[i]; t.query != nil {
				r.queries[t.slot.Seq] = append(r.queries[t.slot.Seq], t)
			}
		}
	}
	return r
}

// Report implements sequencer.Emitter.
func (r *simReference) Report(conn uint64) *orderbook.Report {
	if conn == r.gone && conn != 0 {
		return new(orderbook.Report)
	}
	r.outputs[conn] = append(r.outputs[conn], simOutput{seq: r.seq})
	return &r.outputs[conn][len(r.outputs[conn])-1].report
}

// Query implements sequencer.Emitter.
func (r *simReference) Query(uint64) *orderbook.Answer { panic("a query is not in the log") }

// Publish implements sequencer.Emitter.
func (r *simReference) Publish(topic, _ uint64) *orderbook.Report {
	r.frames[topic] = append(r.frames[topic], simFrame{seq: r.seq})
	return &r.frames[topic][len(r.frames[topic])-1].report
}

// apply executes the next event.
func (r *simReference) apply(event []byte) {
	r.seq++
	r.gone = 0
	ev := simDecode(event, r.seq)
	switch ev.Kind {
	case sequencer.KindRequest:
		if !r.live[ev.Conn] {
			r.c.w.Fail("event %d is a request of connection %#x, which has ended or not begun (C10)", r.seq, ev.Conn)
		}
		r.book.Apply(&ev, r)
	case sequencer.KindConnected:
		r.live[ev.Conn] = true
		r.book.Connected(&ev, r)
	case sequencer.KindDisconnected:
		r.gone = ev.Conn
		delete(r.live, ev.Conn)
		r.book.Disconnected(&ev, r)
	case sequencer.KindTick:
		r.book.Tick(&ev, r)
	}
	r.answer()
	r.describe()
}

// answer answers the queries whose responses are of this event, and compares.
func (r *simReference) answer() {
	for at := 0; at < len(r.queries[r.seq]); {
		at += r.answerOne(r.queries[r.seq][at:])
	}
}

// answerOne answers the query of the first response, and returns how many responses belong to it.
func (r *simReference) answerOne(told []*simTold) int {
	q := told[0].query
	var answers simAnswers
	r.book.Query(&sequencer.Event{Seq: uint64(r.seq), Kind: sequencer.KindRequest, Tag: q.command.Tag,
		Conn: told[0].slot.Conn, Body: q.command.AppendBody(nil)}, &answers)
	n := 0
	for n < len(told) && told[n].query.number == q.number {
		n++
	}
	for i, a := range answers {
		if i < n && !bytes.Equal(a.Frame(), told[i].slot.Query.Frame()) {
			r.fail("the response to query %+v at event %d was % x, the log leads to % x (C7)", q.command, r.seq,
				told[i].slot.Query.Frame(), a.Frame())
		}
	}
	return n
}

func (r *simReference) fail(format string, args ...any) {
	if r.c.w.class == simCommitted {
		r.c.w.Fail(format, args...)
	}
}

// simAnswers takes answers.
type simAnswers []*orderbook.Answer

func (*simAnswers) Report(uint64) *orderbook.Report { panic("a query makes no report") }

func (*simAnswers) Publish(_, _ uint64) *orderbook.Report { panic("a query publishes nothing") }

func (a *simAnswers) Query(uint64) *orderbook.Answer {
	*a = append(*a, new(orderbook.Answer))
	return (*a)[len(*a)-1]
}

// finish compares the states of all nodes with the reference, and the connections with those of the
// office.
func (r *simReference) finish() {
	for _, conn := range r.c.w.leader().office.conns {
		delete(r.live, conn.id)
	}
	for id := range r.live {
		r.c.w.Fail("connection %#x has ended, and the log does not say so (C10)", id)
	}
	var b bytes.Buffer
	if err := r.book.Snapshot(&b); err != nil {
		r.c.w.Fail("%v", err)
	}
	r.c.states(b.Bytes())
}

// compare compares what a client was told on a connection with the outputs of the log: in order, and
// without a gap (C3).
func (r *simReference) compare(conn *simConn) {
	at, want := 0, r.outputs[conn.id]
	for i := range conn.told {
		s := &conn.told[i].slot
		if s.Kind != actors.KindReport {
			continue
		}
		if at >= len(want) || want[at].seq != s.Seq || want[at].report != s.Report {
			missing := simOutput{}
			if at < len(want) {
				missing = want[at]
			}
			r.fail("connection %#x received %+v of event %d, the log leads to %+v (C3)", conn.id, s.Report, s.Seq, missing)
			return
		}
		at++
	}
}
