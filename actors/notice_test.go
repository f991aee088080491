package actors

import (
	"strings"
	"testing"

	"sluice/actors/internal/shard"
	"sluice/telemetry"
	"sluice/transport"
)

// crowd returns a table with n connections, which the shard has ended in one burst while control did
// not run.
func crowd(t *testing.T, n uint64) *table {
	b := newTable(t, nil)
	for id := uint64(1); id <= n; id++ {
		b.join(id)
	}
	e, to := b.shards[0], b.control.shards[0]
	for id := uint64(1); id <= n; {
		for room := to.Claim(shard.EventBatch); len(room) > 0 && id <= n; id, room = id+1, room[1:] {
			room[0] = shard.Event{Kind: shard.EventKick, Conn: id, Hash: transport.Hash(id),
				Reason: transport.ReasonKicked}
			to.Commit(1)
		}
		to.Publish()
		e.Step(b.now)
	}
	for range 100 {
		e.Step(b.now)
	}
	if len(b.closed) != 0 || len(e.Late()) != int(n)-shardNotices {
		t.Fatalf("%d ends reported, %d late", len(b.closed), len(e.Late()))
	}
	return b
}

// Every end of a connection is reported, also if more connections end at once than the mailbox of
// notices has room for.
func TestEveryEndIsReported(t *testing.T) {
	const n = shardNotices + 500
	b := crowd(t, n)
	b.settle()
	check := func(b *table) {
		t.Helper()
		if len(b.notices) != n || len(b.closed) != n || len(b.shards[0].Late()) != 0 {
			t.Errorf("%d notices of %d connections, want %d; %d late", len(b.notices), len(b.closed), n,
				len(b.shards[0].Late()))
		}
		if dropped := b.sum(telemetry.EgressNoticesDropped); dropped != 0 {
			t.Errorf("%d notices dropped", dropped)
		}
	}
	check(b)

	b = crowd(t, n)
	if err := b.shards[0].Close(); err != nil { // before control has run
		t.Fatal(err)
	}
	b.control.Step(b.now)
	for !b.control.Done() {
		b.control.Step(b.now)
	}
	for _, late := range b.shards[0].Late() {
		if b.closed[late.Conn] != transport.ReasonNone {
			t.Errorf("the end of connection %d was reported already", late.Conn)
		}
	}
	b.tellLate()
	if len(b.notices) != n || len(b.closed) != n {
		t.Errorf("%d notices of %d connections after the end, want %d", len(b.notices), len(b.closed), n)
	}
}

// The notice of a connection that was ended for a response that could not be encoded has the error, of
// this connection and not of another one, and no other notice has one.
func TestNoticeHasTheErrorOfTheEncoder(t *testing.T) {
	log := new(logBook)
	b := newTable(t, func(c *Config) { c.Log = log.logger() })
	for id := uint64(1); id <= 3; id++ {
		b.join(id)
	}
	for id, bad := range []fault{1: faultPanic, 2: faultLarge, 3: faultNone} {
		if id > 0 {
			b.say(uint64(id), func(s *Slot[tick, struct{}]) { s.Report.bad = bad })
			b.say(uint64(id), func(s *Slot[tick, struct{}]) { s.Report.bad = bad })
		}
	}
	b.persist()
	b.settle()
	b.mail.events.TrySend(shard.Event{Kind: shard.EventKick, Conn: 3, Hash: transport.Hash(3),
		Reason: transport.ReasonKicked})
	b.settle()
	if len(b.notices) != 3 {
		t.Fatalf("notices %+v", b.notices)
	}
	for _, n := range b.notices {
		want := []string{1: "panic", 2: "larger", 3: ""}[n.Conn]
		if !strings.Contains(n.Error, want) || (n.Error == "") != (want == "") || len(n.Error) > failureBytes {
			t.Errorf("connection %d ended as %v with error %q, want %q", n.Conn, n.Reason, n.Error, want)
		}
	}
	// Both are logged, although in one second; the second error of each is a consequence.
	if lines := log.lines("could not be encoded"); lines != 2 {
		t.Errorf("%d lines, want one for each connection", lines)
	}
}
