package node

import (
	"testing"
	"time"

	"sluice/actors"
	"sluice/transport"
	"sluice/transport/listen"
)

// The connection table removes a connection once both sides have released it, in whichever order,
// and keeps the last 1024 ends.
func TestConnectionTableForgets(t *testing.T) {
	r := newClients(3)
	name := func(class uint8) string { return string('a' + rune(class)) }
	end := func(id uint64) { r.finish(actors.ConnNotice{Conn: id}, time.Unix(int64(id), 0), name) }
	for id := range uint64(2000) {
		r.add(listen.Conn{ID: id, UID: 7}, 1)
		if id%2 == 0 {
			r.unread(id)
			end(id)
		} else {
			end(id)
			r.unread(id)
		}
		if _, ok := r.find(id, name); ok || len(r.live) != 0 {
			t.Fatalf("connection %d is still in the table", id)
		}
	}
	last, total := r.last(5000)
	if total != 2000 || len(last) != closedKept || last[0].Client.ID != 1999 ||
		last[1023].Client.ID != 976 || last[0].Client.UID != 7 || last[0].Client.Listener != "b" {
		t.Errorf("%d in all, %d kept, first %+v, last %+v", total, len(last), last[0],
			last[len(last)-1])
	}
	for id := range uint64(10) { // their shards never tell of the end
		r.add(listen.Conn{ID: id}, 0)
		r.unread(id)
	}
	if len(r.live) > 3 {
		t.Errorf("%d in the table", len(r.live))
	}
	end(500)
	if last, _ := r.last(1); last[0].Client.ID != 500 || last[0].Client.Listener != "" {
		t.Errorf("an end of an unknown connection: %+v", last[0])
	}
}

// A failed request ends its connection, except while the node ends: then what was accepted is answered.
func TestFailedRequestIsShutdownOnlyWhileEnding(t *testing.T) {
	for _, c := range []struct {
		reason transport.Reason
		ending bool
		want   transport.Reason
	}{
		{transport.ReasonRequestFailed, true, transport.ReasonShutdown},
		{transport.ReasonRequestFailed, false, transport.ReasonRequestFailed},
		{transport.ReasonPeerClosed, true, transport.ReasonPeerClosed},
		{transport.ReasonShutdown, false, transport.ReasonShutdown},
	} {
		if got := endReason(c.reason, c.ending); got != c.want {
			t.Errorf("%v with ending %t gives %v, want %v", c.reason, c.ending, got, c.want)
		}
	}
}

// A caller may go on using the map of limits that it gave to Open and Reload.
func TestLimitsAreCopied(t *testing.T) {
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	own := map[string]transport.Limits{"tcp 127.0.0.1:0": transport.DefaultLimits()}
	cfg.EndpointLimits = own
	s, _ := serve(t, cfg)
	clear(own)
	if got := len(s.cfg.EndpointLimits); got != 1 {
		t.Errorf("%d endpoints have limits of their own after Open, want 1", got)
	}
	own["tcp 127.0.0.1:0"] = transport.DefaultLimits()
	if err := s.Reload(Changes{Limits: transport.DefaultLimits(), EndpointLimits: own}); err != nil {
		t.Fatal(err)
	}
	clear(own)
	if got := len(s.operators.changes.EndpointLimits); got != 1 {
		t.Errorf("%d endpoints have limits of their own after Reload, want 1", got)
	}
	drain(t, s)
}
