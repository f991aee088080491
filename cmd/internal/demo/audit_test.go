package demo

import (
	"hash/maphash"
	"slices"
	"strings"
	"testing"

	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability/journal"
)

// story is a journal and the reports that two traders received while it was written: trader 1 on
// connections 11 and 13, trader 2 on connection 12.
type story struct {
	dir     string
	seed    maphash.Seed
	traders []*trader
}

// recorder records reports as the traders do.
type recorder struct {
	*story
	sessions map[uint64]*session
	report   *orderbook.Report
	to       uint64
}

func (r *recorder) Report(conn uint64) *orderbook.Report {
	r.flush()
	r.report, r.to = new(orderbook.Report), conn
	return r.report
}

func (r *recorder) Query(uint64) *orderbook.Answer { panic("an event has no answers to queries") }

func (r *recorder) Publish(_, _ uint64) *orderbook.Report { return new(orderbook.Report) }

func (r *recorder) flush() {
	if s := r.sessions[r.to]; s != nil && r.report != nil {
		s.got = append(s.got, maphash.Comparable(r.seed, *r.report))
	}
	r.report = nil
}

// newStory writes a journal of a few trades, which begins with version 0 of the rules.
func newStory(t *testing.T) *story {
	t.Helper()
	s := &story{dir: t.TempDir(), seed: maphash.MakeSeed()}
	s.traders = []*trader{{account: 1}, {account: 2}}
	rec := &recorder{story: s, sessions: map[uint64]*session{11: {}, 12: {whole: true},
		13: {whole: true}}}
	s.traders[0].sessions = []*session{rec.sessions[11], rec.sessions[13]}
	s.traders[1].sessions = []*session{rec.sessions[12]}
	j, _, err := journal.Open(journal.Options{Dir: s.dir, SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	book, err := orderbook.New(orderbook.Config{})
	if err != nil {
		t.Fatal(err)
	}
	send := func(conn uint64, c orderbook.Command) {
		req := sequencer.Event{Kind: sequencer.KindRequest, Conn: conn, Request: c.ClientOrderID, Tag: c.Tag,
			Body: c.AppendBody(nil)}
		seq, err := j.Writer().Append(sequencer.AppendEvent(nil, &req))
		if err != nil {
			t.Fatal(err)
		}
		session := rec.sessions[conn]
		if session.first == 0 {
			session.first = uint64(seq)
		}
		s.traders[c.Account-1].acks = append(s.traders[c.Account-1].acks, ack{c.ClientOrderID, uint64(seq)})
		req.Seq = uint64(seq)
		book.Apply(&req, rec)
		rec.flush()
	}
	limit := func(account, conn, id uint64, side orderbook.Side, quantity uint64) {
		send(conn, orderbook.Command{Tag: orderbook.TagNew, Account: account, ClientOrderID: id,
			Instrument: 1, Side: side, Type: orderbook.Limit,
			TimeInForce: orderbook.GoodTillCancel, Price: 100, Quantity: quantity})
	}
	rules := func(version uint32) {
		if err := book.UseRules(version); err != nil {
			t.Fatal(err)
		}
		if version > 0 {
			ev := sequencer.Event{Kind: sequencer.KindVersion, Body: []byte{byte(version), 0, 0, 0}}
			if _, err := j.Writer().Append(sequencer.AppendEvent(nil, &ev)); err != nil {
				t.Fatal(err)
			}
		}
		// Each version rejects this command for another reason.
		send(11, orderbook.Command{Tag: orderbook.TagCancel, Account: 1, ClientOrderID: 1 << (40 + version),
			Target: 99})
	}
	limit(1, 11, 1, orderbook.Buy, 10)
	limit(2, 12, 1, orderbook.Sell, 4)
	limit(1, 11, 2, orderbook.Buy, 1)
	limit(1, 13, 3, orderbook.Buy, 5)
	limit(2, 12, 2, orderbook.Sell, 9)
	limit(2, 12, 3, orderbook.Sell, 3)
	rules(0) // the journal began with them
	rules(1)
	for _, tr := range s.traders {
		for i := range tr.position {
			tr.position[i] = new(auditor).position(book, tr.account, uint32(1+i))
		}
	}
	if _, err := j.Writer().Commit(); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// clone returns a story with the same journal and a copy of the traders.
func (s *story) clone() *story {
	c := &story{dir: s.dir, seed: s.seed}
	for _, t := range s.traders {
		copied := &trader{account: t.account, acks: slices.Clone(t.acks), position: t.position}
		for _, b := range t.sessions {
			copied.sessions = append(copied.sessions,
				&session{first: b.first, got: slices.Clone(b.got), whole: b.whole})
		}
		c.traders = append(c.traders, copied)
	}
	return c
}

func TestAuditFindsContradictions(t *testing.T) {
	original := newStory(t)
	for _, tt := range []struct {
		name  string
		plant func(s *story)
		want  string // "" for no contradiction
	}{
		{"no contradiction", func(*story) {}, ""},
		{"last reports missing on a broken connection", func(s *story) {
			b := s.traders[0].sessions[0]
			b.got = b.got[:len(b.got)-2]
		}, ""},
		{"acknowledgement missing from the journal", func(s *story) {
			s.traders[1].acks = append(s.traders[1].acks, ack{4, 7})
		}, "account 2, command #4: acknowledged as event 7, which is not in the journal"},
		{"acknowledgement with another account's event", func(s *story) {
			s.traders[0].acks[1].seq = 2
		}, "account 1, command #2: acknowledged as event 2, which is not in the journal"},
		{"acknowledgement with another command's event", func(s *story) {
			s.traders[1].acks[1].id = 7
		}, "account 2, command #7: acknowledged as event 5, which is command #2 in the journal"},
		{"different report", func(s *story) { s.traders[1].sessions[0].got[2]++ },
			"account 2 received another report than the journal as report 3"},
		{"two reports swapped", func(s *story) {
			g := s.traders[1].sessions[0].got
			g[1], g[2] = g[2], g[1]
		}, "account 2 received another report"},
		{"duplicate report", func(s *story) {
			b := s.traders[0].sessions[0]
			b.got = slices.Insert(b.got, 1, b.got[1])
		}, "account 1 received another report"},
		{"report missing in the middle", func(s *story) {
			b := s.traders[0].sessions[0]
			b.got = slices.Delete(b.got, 1, 2)
		}, "account 1 received another report"},
		{"last report missing on a connection closed in order", func(s *story) {
			b := s.traders[1].sessions[0]
			b.got = b.got[:len(b.got)-1]
		}, "account 2 did not receive a report on a connection that was closed in order"},
		{"report too many", func(s *story) {
			b := s.traders[0].sessions[1]
			b.got = append(b.got, 1)
		}, "account 1 received 1 reports that the journal does not explain"},
		{"acknowledgement of an event that does not exist", func(s *story) {
			s.traders[0].sessions[1].first = 99
		}, "event 99 was acknowledged first on a connection"},
		{"reports without an acknowledgement", func(s *story) {
			s.traders[0].sessions[1].first = 0
		}, "no acknowledgement on a connection"},
		{"different position", func(s *story) { s.traders[0].position[0].Bought++ },
			"account 1, instrument 1: the server has"},
		{"unknown trader", func(s *story) { s.traders = s.traders[:1] },
			"event 2 is from account 2, which does not trade"},
	} {
		s := original.clone()
		tt.plant(s)
		f, err := audit(s.dir, s.seed, s.traders, nil)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		all := strings.Join(f.wrong, "\n")
		if tt.want == "" &&
			(all != "" || f.acked != 8 || f.found != 8 || f.asked != f.agreed ||
				f.same != f.received || f.events != 8) {
			t.Errorf("%s: %s\n%+v", tt.name, all, f)
		}
		if !strings.Contains(all, tt.want) {
			t.Errorf("%s: got\n%s\nwant %q", tt.name, all, tt.want)
		}
	}
}

func TestNumberFormats(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567",
		-1000: "-1,000"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is formatted as %s", n, got)
		}
	}
	for ns, want := range map[uint64]string{0: "0s", 999: "999ns", 1_234: "1.23µs",
		1_234_567: "1.23ms", 123_456_789: "123ms", 12_345_678_901: "12.3s"} {
		if got := short(ns); got != want {
			t.Errorf("%d ns is formatted as %s", ns, got)
		}
	}
}
