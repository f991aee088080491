package audit

import (
	"fmt"
	"maps"
	"slices"

	"sluice/actors/sequencer"
	"sluice/cmd/internal/history"
	"sluice/cmd/orderbook"
)

// Run audits the journals in data directories with histories, which are files or directories of files
// *.jsonl. Faults are in the result; an error means that something cannot be read.
func Run(dirs, histories []string) (*Result, error) {
	var r Result
	c, err := load(histories, &r.Counts)
	if err != nil {
		return nil, err
	}
	l, err := open(dirs)
	if err != nil {
		return nil, err
	}
	return &r, check(l, c, &r)
}

// check compares the log with the claims.
func check(l *log, c *claims, r *Result) error {
	book, err := orderbook.New(orderbook.Config{})
	if err != nil {
		return err
	}
	if err := l.state(book); err != nil {
		return err
	}
	r.First, r.Last, r.Replayed, r.Histories = l.first, l.newest.Last, l.after, len(c.clients)
	r.Needed, r.Voting = l.needed, l.voting
	for _, conn := range c.conns {
		conn.begun = l.after == 0
	}
	k := &checker{claims: c, Result: r, log: l, book: book, requests: c.requests, queries: c.queries}
	c.order(r)
	k.early()
	for e, err := range l.all(r) {
		if err == nil {
			err = k.event(e)
		}
		if err != nil {
			return err
		}
	}
	k.end()
	for _, s := range l.sources {
		r.Journals = append(r.Journals, s.JournalResult)
	}
	return nil
}

// checker walks along the log.
type checker struct {
	*claims
	*Result
	log      *log
	book     *orderbook.Book
	requests []request // answered as a later event
	queries  []query   // as of a later event
	at       uint64    // the event that the book applies
	to       *conn     // of report; nil for none
	report   orderbook.Report
	answers  []*orderbook.Answer
	frame    []byte
}

// early leaves out what is before the log.
func (k *checker) early() {
	for len(k.requests) > 0 && k.requests[0].event < k.log.first {
		k.requests = k.requests[1:]
		k.Early++
	}
	for len(k.queries) > 0 && k.queries[0].asOf < k.log.after {
		k.queries = k.queries[1:]
		k.Unasked++
	}
	if k.log.after > 0 {
		k.ask(k.book.Seq())
	}
}

// event compares one event of the log, and applies it.
func (k *checker) event(e entry) (err error) {
	var ev sequencer.Event
	if err := sequencer.DecodeEvent(e.payload, &ev); err != nil {
		return fmt.Errorf("audit: event %d: %w", e.seq, err)
	}
	ev.Seq = e.seq
	if ev.Kind == sequencer.KindRequest {
		k.request(&ev)
	}
	k.acknowledged(&ev, e.copies)
	if e.seq <= k.log.after || slices.Contains(k.log.base.skips, e.seq) {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("audit: event %d (%s): the order book panicked: %v", e.seq, say(&ev), v)
		}
	}()
	if c := k.conns[ev.Conn]; c != nil && ev.Kind == sequencer.KindConnected {
		c.begun = true
	}
	if ev.Kind == sequencer.KindVersion {
		if err := k.book.UseRules(ev.Rules()); err != nil {
			return fmt.Errorf("audit: event %d: %w", e.seq, err)
		}
	}
	k.at = e.seq
	applied := sequencer.Deliver(k.book, &ev, k)
	k.compare()
	if ev.Kind == sequencer.KindDisconnected {
		k.gone(ev.Conn)
	}
	if applied {
		k.ask(e.seq)
	}
	return nil
}

// request counts a request of the log.
func (k *checker) request(ev *sequencer.Event) {
	is := sending{ev.Conn, ev.Request, history.HashOf(ev.Tag, ev.Body)}
	t := k.sent[is]
	if is.conn = 0; t == nil {
		t = k.sent[is]
	}
	switch c := k.conns[ev.Conn]; {
	case t == nil && c == nil:
		k.Strangers++
		return
	case t == nil:
		k.fault(Contradiction, ev.Seq, "event %d is %s, which %s did not send", ev.Seq, say(ev), k.clients[c.client])
		return
	}
	if t.found++; t.found == 1 {
		t.first = ev.Seq
	}
	if t.found > t.sent {
		k.fault(Double, ev.Seq, "event %d is %s, and so is event %d; %s sent it %s", ev.Seq, say(ev), t.first,
			k.clients[t.client], times(t.sent))
	} else if t.found > t.sent-t.refused {
		k.fault(Contradiction, ev.Seq, "event %d is %s; %s sent it %s and was told %s that it was not executed", ev.Seq,
			say(ev), k.clients[t.client], times(t.sent), times(t.refused))
	}
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// acknowledged compares the requests that were answered as this event.
func (k *checker) acknowledged(ev *sequencer.Event, copies int) {
	for n := 0; len(k.requests) > 0 && k.requests[0].event == ev.Seq; n++ {
		a := k.requests[0]
		k.requests = k.requests[1:]
		name := k.name(a.client, a.conn, a.number)
		same := ev.Kind == sequencer.KindRequest && history.HashOf(ev.Tag, ev.Body) == a.hash && ev.Request == a.number &&
			(a.conn == 0 || a.conn == ev.Conn)
		switch {
		case n > 0:
			k.fault(Contradiction, ev.Seq, "%s was answered as event %d, as another request was; it is %s", name, ev.Seq, say(ev))
		case !same:
			k.fault(Loss, ev.Seq, "%s was answered as event %d, which is %s", name, ev.Seq, say(ev))
		case copies < k.log.needed:
			k.fault(Loss, ev.Seq, "%s was answered as event %d, which %d of %d journals have; it must be in %d", name, ev.Seq,
				copies, k.log.voting, k.log.needed)
		default:
			k.Found++
		}
		if c := k.conns[ev.Conn]; c != nil && same {
			c.upTo = max(c.upTo, ev.Seq) // the request may not say on which connection it was sent
		}
	}
}

// Report implements sequencer.Emitter for the replay.
func (k *checker) Report(id uint64) *orderbook.Report {
	k.compare()
	k.to, k.report = k.conns[id], orderbook.Report{}
	return &k.report
}

// Publish implements sequencer.Emitter. Topic frames are no responses.
func (*checker) Publish(_, _ uint64) *orderbook.Report { return new(orderbook.Report) }

// Query implements sequencer.Emitter.
func (k *checker) Query(uint64) *orderbook.Answer {
	a := new(orderbook.Answer)
	k.answers = append(k.answers, a)
	return a
}

// compare compares the report that was filled in last with what its connection received.
func (k *checker) compare() {
	c := k.to
	k.to = nil
	if c == nil || c.over || !c.begun {
		return
	}
	var err error
	if k.frame, err = (orderbook.Encoder{}).AppendReport(k.frame[:0], &k.report); err != nil {
		panic(err) // for event, which names it
	}
	switch {
	case c.next < len(c.frames) && c.frames[c.next] == history.HashOf(k.frame[4], k.frame[5:]):
		c.next++
		k.Same++
	case c.next < len(c.frames):
		c.over = true
		k.fault(Contradiction, k.at, "%s received another frame %d on connection %s than the log explains: event %d causes %s",
			k.clients[c.client], c.next+1, connection(c.id), k.at, tell(&k.report))
	case k.at <= c.upTo:
		c.over = true
		k.fault(Contradiction, k.at, "%s did not receive frame %d on connection %s, although later responses arrived: event "+
			"%d causes %s", k.clients[c.client], c.next+1, connection(c.id), k.at, tell(&k.report))
	default:
		k.Lost++
	}
}

// gone ends the comparison of a connection, whose end is in the log.
func (k *checker) gone(id uint64) {
	c := k.conns[id]
	if c == nil || c.over || !c.begun {
		return
	}
	c.over = true
	if n := len(c.frames) - c.next; n > 0 {
		k.fault(Contradiction, k.at, "%s received %d frames on connection %s that the log does not explain",
			k.clients[c.client], n, connection(id))
	}
	c.next = len(c.frames)
}

// ask asks the book what clients asked, and compares the responses as of this event.
func (k *checker) ask(seq uint64) {
	for len(k.queries) > 0 && k.queries[0].asOf <= seq {
		q := k.queries[0]
		k.queries = k.queries[1:]
		name := k.name(q.client, q.conn, q.number)
		if q.asOf < seq {
			k.fault(Contradiction, q.asOf, "%s is answered as of event %d, which changes nothing that a client can ask for",
				name, q.asOf)
			continue
		}
		k.answers = k.answers[:0]
		k.book.Query(&sequencer.Event{Seq: seq, Tag: q.bytes[0], Body: q.bytes[1:]}, k)
		same := len(q.answer) == 0 || len(q.answer) == len(k.answers)
		for i := 0; same && i < len(q.answer); i++ {
			frame := k.answers[i].Frame()
			same = q.answer[i] == history.HashOf(frame[4], frame[5:])
		}
		if same {
			k.Agreed++
			continue
		}
		k.fault(Contradiction, seq, "%s (%s) got another response as of event %d than the log gives", name,
			k.book.DescribeRequest(q.bytes[0], q.bytes[1:]), seq)
	}
}

// end checks what is left over.
func (k *checker) end() {
	for _, a := range k.requests {
		k.fault(Loss, a.event, "%s was answered as event %d, and the log ends at event %d", k.name(a.client, a.conn, a.number),
			a.event, k.log.newest.Last)
	}
	for _, a := range k.nameless {
		switch t := k.sent[sending{a.conn, a.number, a.hash}]; {
		case t.found > 0:
			k.Found++
		case k.log.first > 1:
			k.Early++ // perhaps
		default:
			k.fault(Loss, 0, "%s was answered, and is not in the log", k.name(a.client, a.conn, a.number))
		}
	}
	for _, q := range k.queries {
		k.fault(Loss, q.asOf, "%s is answered as of event %d, and the log ends at event %d", k.name(q.client, q.conn, q.number),
			q.asOf, k.log.newest.Last)
	}
	k.at = k.log.newest.Last
	for _, id := range slices.Sorted(maps.Keys(k.conns)) {
		k.gone(id)
		k.Unchecked += len(k.conns[id].frames) - k.conns[id].next
	}
}
