package demo

import (
	"fmt"
	"hash/maphash"

	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability/journal"
)

// findings are the counts of the audit and the contradictions that it found.
//
// Its groups of fields are: the traders' orders, reports and positions; the subscribers' books; contradictions.
type findings struct {
	events   uint64 // events in the journal
	acked    int    // acknowledged commands
	found    int    // acknowledged commands that the journal has under the acknowledged number
	received int    // reports that the traders received
	same     int    // received reports that equal the replay
	lost     int    // reports of the replay that did not arrive because of the crash
	unacked  int    // executed commands whose acknowledgement was lost in the crash
	repeats  int    // commands sent again after the crash
	asked    int    // positions that the traders asked for
	agreed   int    // positions that equal the replay

	copies, equal, levels   int    // books of subscribers; those that equal the replay; price levels of all
	frames, gaps, snapshots uint64 // that the subscribers received

	wrong []string // contradictions in words, at most maxWrong
	more  int      // number of further contradictions
}

const maxWrong = 10

func (f *findings) contradict(format string, args ...any) {
	if len(f.wrong) == maxWrong {
		f.more++
		return
	}
	f.wrong = append(f.wrong, fmt.Sprintf(format, args...))
}

// auditor replays a journal and compares the reports with the received ones.
type auditor struct {
	findings
	seed     maphash.Seed
	traders  map[uint64]*trader
	acks     map[uint64]int       // acks found so far, by account
	begins   map[uint64]*session  // session, by the event of its first acknowledgement
	sessions map[uint64]*replayed // by connection
	report   orderbook.Report     // report that the book fills in
	query    orderbook.Answer
	to       uint64 // connection of report, 0 for none
	seq      uint64 // event being applied
	request  uint64 // the last request applied
}

// replayed is a session and the number of its reports compared so far.
type replayed struct {
	*session
	account uint64
	next    int
}

// audit compares the reports that the traders received, and the books of subscribers, with the
// journal in dir. Contradictions are
// findings; an error means that the journal cannot be read.
func audit(dir string, seed maphash.Seed, traders []*trader,
	watchers []*watcher) (*findings, error) {
	log, err := journal.Inspect(dir)
	if err != nil {
		return nil, err
	}
	book, err := orderbook.New(orderbook.Config{})
	if err != nil {
		return nil, err
	}
	if err := book.UseRules(0); err != nil { // until an event names others
		return nil, err
	}
	a := &auditor{seed: seed, traders: make(map[uint64]*trader), acks: make(map[uint64]int),
		begins: make(map[uint64]*session), sessions: make(map[uint64]*replayed)}
	for _, t := range traders {
		a.traders[t.account] = t
		a.acked += len(t.acks)
		a.unacked += t.unacked
		a.repeats += t.repeats
		for _, s := range t.sessions {
			a.received += len(s.got)
			if s.first != 0 {
				a.begins[s.first] = s
			} else if len(s.got) > 0 {
				a.contradict("account %d received %d reports but no acknowledgement on a connection", t.account, len(s.got))
			}
		}
	}
	var ev sequencer.Event
	for event, err := range log.Events() {
		if err != nil {
			return nil, err
		}
		if err := sequencer.DecodeEvent(event.Payload, &ev); err != nil {
			return nil, fmt.Errorf("event %d: %w", event.Seq, err)
		}
		ev.Seq = uint64(event.Seq)
		if ev.Kind == sequencer.KindRequest {
			if err := a.event(&ev); err != nil {
				return nil, err
			}
			a.request = ev.Seq
		}
		if ev.Kind == sequencer.KindVersion {
			if err := book.UseRules(ev.Rules()); err != nil {
				return nil, fmt.Errorf("event %d: %w", ev.Seq, err)
			}
		}
		a.seq = ev.Seq
		sequencer.Deliver(book, &ev, a)
		a.compare()
	}
	a.close(book)
	a.books(book, watchers)
	return &a.findings, nil
}

// event checks the acknowledgement of an event, before it is applied.
func (a *auditor) event(req *sequencer.Event) error {
	seq := req.Seq
	a.events++
	var c orderbook.Command
	if err := orderbook.DecodeRequest(req.Tag, req.Body, &c); err != nil {
		return fmt.Errorf("event %d: %w", seq, err)
	}
	if s := a.begins[seq]; s != nil {
		if a.sessions[req.Conn] != nil {
			a.contradict("event %d was acknowledged first on one connection but came from another", seq)
		}
		a.sessions[req.Conn] = &replayed{session: s, account: c.Account}
		delete(a.begins, seq)
	}
	t := a.traders[c.Account]
	if t == nil {
		a.contradict("event %d is from account %d, which does not trade", seq, c.Account)
		return nil
	}
	k := a.acks[c.Account]
	for ; k < len(t.acks) && t.acks[k].seq < seq; k++ {
		a.contradict("account %d, command #%d: acknowledged as event %d, which is not in the "+
			"journal", c.Account, t.acks[k].id, t.acks[k].seq)
	}
	if k < len(t.acks) && t.acks[k].seq == seq {
		if t.acks[k].id == c.ClientOrderID {
			a.found++
		} else {
			a.contradict("account %d, command #%d: acknowledged as event %d, which is command "+
				"#%d in the journal", c.Account, t.acks[k].id, seq, c.ClientOrderID)
		}
		k++
	}
	a.acks[c.Account] = k
	return nil
}

// Report implements sequencer.Emitter for the replay.
func (a *auditor) Report(conn uint64) *orderbook.Report {
	a.compare()
	a.to, a.report = conn, orderbook.Report{}
	return &a.report
}

// Publish implements sequencer.Emitter. Topic frames are no responses.
func (*auditor) Publish(_, _ uint64) *orderbook.Report { return new(orderbook.Report) }

// Query implements sequencer.Emitter.
func (a *auditor) Query(uint64) *orderbook.Answer {
	a.query = orderbook.Answer{}
	return &a.query
}

// compare compares the report that was filled in last with the one that its connection received.
func (a *auditor) compare() {
	s := a.sessions[a.to]
	a.to = 0
	if s == nil {
		return
	}
	switch {
	case s.next < len(s.got) && s.got[s.next] == maphash.Comparable(a.seed, a.report):
		a.same++
	case s.next < len(s.got):
		a.contradict("account %d received another report than the journal as report %d of its "+
			"connection: event %d causes %+v", s.account, s.next+1, a.seq, a.report)
	case s.whole:
		a.contradict("account %d did not receive a report on a connection that was closed in "+
			"order: event %d causes %+v", s.account, a.seq, a.report)
	default:
		a.lost++
	}
	s.next++
}

// close checks that no acknowledgement or report is left over, and checks the positions.
func (a *auditor) close(book *orderbook.Book) {
	for account, t := range a.traders {
		for _, k := range t.acks[a.acks[account]:] {
			a.contradict("account %d, command #%d: acknowledged as event %d, which is not in the "+
				"journal", account, k.id, k.seq)
		}
		for i := range t.position {
			a.asked++
			p := a.position(book, account, uint32(1+i))
			if at := t.position[i].Seq; at >= a.request && at <= a.seq {
				p.Seq = at // only ends of connections follow, which change no position
			}
			if p == t.position[i] {
				a.agreed++
			} else {
				a.contradict("account %d, instrument %d: the server has %+v, the journal %+v",
					account, 1+i, t.position[i], p)
			}
		}
	}
	for _, s := range a.sessions {
		if n := len(s.got) - s.next; n > 0 {
			a.contradict("account %d received %d reports that the journal does not explain",
				s.account, n)
		}
	}
	for seq := range a.begins {
		a.contradict("event %d was acknowledged first on a connection, but is not in the journal", seq)
	}
}

// position asks the replayed book.
func (a *auditor) position(book *orderbook.Book, account uint64, instrument uint32) orderbook.Position {
	const header = 4 + 8 + 1
	frame, err := orderbook.AppendRequest(nil, 0,
		&orderbook.Command{Tag: orderbook.TagQueryPosition, Account: account, Instrument: instrument})
	if err != nil {
		panic(fmt.Sprintf("demo: %v", err)) // impossible: the tag is one of the book's own
	}
	book.Query(&sequencer.Event{Tag: orderbook.TagQueryPosition, Body: frame[header:]}, a)
	answer := a.query.Frame()
	p, err := orderbook.DecodeAnswer(answer[4], answer[5:])
	if err != nil {
		panic(fmt.Sprintf("demo: %v", err)) // impossible: the book encoded it
	}
	return p.(orderbook.Position)
}
