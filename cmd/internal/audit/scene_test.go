package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"sluice/actors/node/cluster"
	"sluice/actors/sequencer"
	"sluice/cmd/internal/history"
	"sluice/cmd/orderbook"
	"sluice/durability/journal"
	"sluice/durability/raftlog/raftsim"
)

// scene is what happened at a cluster of three nodes: node 1 led in term 2 and died with two events that no
// other node had; node 2 led in term 3. Two traders trade with one another on both.
type scene struct {
	events []sequencer.Event // the log
	terms  []uint64          // of the events
	stale  []sequencer.Event // at the end of node 1 instead
	lines  [2][]history.Line // by client

	book    *orderbook.Book
	got     map[uint64][]history.Hash // frames by connection, since its line before
	to      uint64                    // connection of report; 0 for none
	report  orderbook.Report
	answers []*orderbook.Answer
	now     int64
}

// Connections of the traders.
const (
	a1 = 1<<58 | 1<<40 | 1
	b1 = 1<<58 | 1<<40 | 2
	a2 = 2<<58 | 1<<40 | 1
	b2 = 2<<58 | 1<<40 | 2
)

func newScene(t testing.TB) *scene {
	t.Helper()
	book, err := orderbook.New(orderbook.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{book: book, got: map[uint64][]history.Hash{}}
	s.note(2, sequencer.KindConnected, a1)
	s.note(2, sequencer.KindConnected, b1)
	s.request(2, 0, a1, 1, order(1, 1, orderbook.Sell, 10)) // event 3
	s.request(2, 1, b1, 1, order(2, 1, orderbook.Buy, 4))
	s.query(1, b1, 2, orderbook.Command{Tag: orderbook.TagQueryPosition, Account: 2, Instrument: 7})
	s.request(2, 1, b1, 3, order(2, 2, orderbook.Buy, 3))
	s.request(2, 0, a1, 2, order(1, 2, orderbook.Sell, 1))
	s.request(2, 1, b1, 4, order(2, 3, orderbook.Buy, 2)) // event 7
	// Node 1 dies with the two requests that follow.
	lost := s.event(a1, 3, order(1, 3, orderbook.Sell, 5))
	s.stale = []sequencer.Event{lost, s.event(b1, 5, order(2, 4, orderbook.Buy, 5))}
	for i, e := range s.stale {
		s.stale[i].Time = 1e18 + s.tick()
		s.line(i, history.Line{Conn: e.Conn, Request: e.Request, Hash: history.HashOf(e.Tag, e.Body), Sent: s.tick(),
			Outcome: history.Unknown})
	}
	for _, conn := range []uint64{a1, b1} {
		s.note(3, sequencer.KindDisconnected, conn)
	}
	s.note(3, sequencer.KindConnected, a2) // event 10
	s.note(3, sequencer.KindConnected, b2)
	s.request(3, 0, a2, 4, order(1, 3, orderbook.Sell, 5)) // again
	s.request(3, 1, b2, 6, order(2, 4, orderbook.Buy, 5))
	s.query(0, a2, 5, orderbook.Command{Tag: orderbook.TagQueryTop, Instrument: 7})
	s.line(1, history.Line{Conn: b2, Request: 7, Hash: history.HashOf(0x10, []byte("shed")), Sent: s.tick(), Outcome: history.Refused})
	s.request(3, 1, b2, 8, order(2, 5, orderbook.Buy, 1)) // event 14
	for client, conn := range []uint64{a2, b2} {
		s.line(client, history.Line{Conn: conn})
	}
	return s
}

// order is a new order at one price.
func order(account, id uint64, side orderbook.Side, quantity uint64) orderbook.Command {
	return orderbook.Command{Tag: orderbook.TagNew, Account: account, ClientOrderID: id, Instrument: 7, Side: side,
		Type: orderbook.Limit, TimeInForce: orderbook.GoodTillCancel, Price: 100, Quantity: quantity}
}

func (s *scene) tick() int64 { s.now += 1000; return s.now }

func (s *scene) event(conn, number uint64, c orderbook.Command) sequencer.Event {
	return sequencer.Event{Kind: sequencer.KindRequest, Conn: conn, Request: number, Tag: c.Tag, Body: c.AppendBody(nil),
		Identity: sequencer.Identity{Role: sequencer.RoleTrader}}
}

// apply appends an event to the log.
func (s *scene) apply(term uint64, e sequencer.Event) uint64 {
	e.Time, e.Seq = 1e18+s.tick(), uint64(len(s.events)+1)
	s.events, s.terms = append(s.events, e), append(s.terms, term)
	sequencer.Deliver(s.book, &e, s)
	s.arrive()
	return e.Seq
}

func (s *scene) note(term uint64, kind sequencer.Kind, conn uint64) {
	s.apply(term, sequencer.Event{Kind: kind, Conn: conn, Identity: sequencer.Identity{Role: sequencer.RoleTrader}})
}

// request is one that is answered.
func (s *scene) request(term uint64, client int, conn, number uint64, c orderbook.Command) {
	e := s.event(conn, number, c)
	sent := s.tick()
	seq := s.apply(term, e)
	s.line(client, history.Line{Conn: conn, Request: number, Hash: history.HashOf(e.Tag, e.Body), Sent: sent,
		Outcome: history.Answered, Answered: s.tick(), Event: seq})
}

func (s *scene) query(client int, conn, number uint64, c orderbook.Command) {
	l := history.Line{Conn: conn, Request: number, Query: append(history.Bytes{c.Tag}, c.AppendBody(nil)...),
		Sent: s.tick(), Outcome: history.Answered, AsOf: s.book.Seq()}
	s.answers = nil
	s.book.Query(&sequencer.Event{Tag: c.Tag, Body: l.Query[1:]}, s)
	for _, a := range s.answers {
		l.Answer = append(l.Answer, history.HashOf(a.Frame()[4], a.Frame()[5:]))
	}
	l.Answered = s.tick()
	s.line(client, l)
}

// line enters a line with the frames that its connection received.
func (s *scene) line(client int, l history.Line) {
	l.Frames = s.got[l.Conn]
	delete(s.got, l.Conn)
	s.lines[client] = append(s.lines[client], l)
}

// Report implements sequencer.Emitter.
func (s *scene) Report(conn uint64) *orderbook.Report {
	s.arrive()
	s.to, s.report = conn, orderbook.Report{}
	return &s.report
}

// Publish implements sequencer.Emitter.
func (*scene) Publish(_, _ uint64) *orderbook.Report { return new(orderbook.Report) }

// Query implements sequencer.Emitter.
func (s *scene) Query(uint64) *orderbook.Answer {
	s.answers = append(s.answers, new(orderbook.Answer))
	return s.answers[len(s.answers)-1]
}

func (s *scene) arrive() {
	if s.to != 0 {
		frame, err := orderbook.Encoder{}.AppendReport(nil, &s.report)
		if err != nil {
			panic(err)
		}
		s.got[s.to] = append(s.got[s.to], history.HashOf(frame[4], frame[5:]))
	}
	s.to = 0
}

// records are those of a node's journal, one entry for each event.
func (s *scene) records(node int) (all [][]byte) {
	index := uint64(1)
	entry := func(term, seq uint64, events ...sequencer.Event) {
		var encoded [][]byte
		for i := range events {
			encoded = append(encoded, sequencer.AppendEvent(nil, &events[i]))
		}
		index++
		all = append(all, raftsim.AppendEntry(nil, term, index, seq, encoded...))
	}
	term := uint64(0)
	for i, e := range s.events {
		if s.terms[i] != term {
			if node == 1 && term != 0 {
				break
			}
			if term = s.terms[i]; i > 0 {
				all = append(all, raftsim.AppendHard(nil, term, 2, index))
			}
			entry(term, 0) // a leadership begins
		}
		entry(term, uint64(i+1), e)
	}
	if node != 1 {
		return append(all, raftsim.AppendHard(nil, term, 2, index))
	}
	all = append(all, raftsim.AppendHard(nil, term, 1, index))
	for i, e := range s.stale {
		entry(term, s.count(term)+uint64(i)+1, e)
	}
	return all
}

// count is the number of events up to a term.
func (s *scene) count(term uint64) (n uint64) {
	for _, t := range s.terms {
		if t <= term {
			n++
		}
	}
	return n
}

// write makes the directories node1 to node3 and histories below dir.
func (s *scene) write(t testing.TB, dir string) {
	t.Helper()
	for node := 1; node <= 3; node++ {
		writeNode(t, filepath.Join(dir, fmt.Sprint("node", node)), uint8(node), s.records(node))
	}
	if err := s.writeHistories(filepath.Join(dir, "histories")); err != nil {
		t.Fatal(err)
	}
}

func writeNode(t testing.TB, dir string, node uint8, records [][]byte) {
	t.Helper()
	writeNodeWith(t, dir, node, records, nil)
}

// writeNodeWith makes the data directory of a member; then is called with its journal.
func writeNodeWith(t testing.TB, dir string, node uint8, records [][]byte, then func(*journal.Journal) error) {
	t.Helper()
	m := cluster.Membership{Cluster: cluster.ID{1}, Node: node}
	for n := uint8(1); n <= 3; n++ {
		m.Members = append(m.Members, cluster.Member{Node: n, Peer: fmt.Sprintf("127.0.0.1:%d", 7000+int(n)),
			Client: fmt.Sprintf("127.0.0.1:%d", 8000+int(n))})
	}
	err := os.MkdirAll(filepath.Dir(dir), 0o700)
	if err == nil {
		err = cluster.Init(dir, m)
	}
	if err == nil {
		err = writeJournal(dir, records, then)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// writeJournal makes the journal and the genesis of a data directory.
func writeJournal(dir string, records [][]byte, then func(*journal.Journal) error) error {
	j, r, err := journal.Open(journal.Options{Dir: filepath.Join(dir, "journal"), SegmentBytes: 4 << 10})
	if err != nil {
		return err
	}
	for _, record := range records {
		if _, err := j.Writer().Append(record); err != nil {
			return errors.Join(err, j.Close())
		}
	}
	_, err = j.Writer().Commit()
	if err == nil && then != nil {
		err = then(j)
	}
	if err := errors.Join(err, j.Close()); err != nil {
		return err
	}
	book, err := orderbook.New(orderbook.Config{})
	if err != nil {
		return err
	}
	var empty bytes.Buffer
	if err := book.Snapshot(&empty); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "genesis"), journal.AppendOwned(nil, r.Directory, empty.Bytes()), 0o600)
}

func (s *scene) writeHistories(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for client, lines := range s.lines {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		name := fmt.Sprintf("trader-%d", client+1)
		err := enc.Encode(history.Head{Version: 1, Client: name, Clock: "c10c"})
		for _, l := range lines {
			err = errors.Join(err, enc.Encode(l))
		}
		if err = errors.Join(err, os.WriteFile(filepath.Join(dir, name+".jsonl"), b.Bytes(), 0o600)); err != nil {
			return err
		}
	}
	return nil
}
