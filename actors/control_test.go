package actors

import (
	"errors"
	"testing"

	"sluice/actors/internal/shard"
	"sluice/transport"
)

// unfilled is a closed mailbox with a sender that has claimed its place and fills it a few reads
// later.
type unfilled struct {
	looks int
	left  []shard.Event
}

func (u *unfilled) Done() bool { return len(u.left) == 0 }

func (u *unfilled) Recv() (ev shard.Event, ok bool) {
	if u.looks--; u.looks >= 0 || u.Done() {
		return shard.Event{}, false
	}
	ev, u.left = u.left[0], u.left[1:]
	return ev, true
}

// A sender that claimed its place before the end is answered even if it fills the place after
// everything has ended. Otherwise a Connect would wait forever and a socket would stay open.
func TestEndWaitsForSenderWithAClaimedPlace(t *testing.T) {
	answers, list := 0, &shard.Listing{Done: make(chan struct{})}
	u := &unfilled{looks: 3, left: []shard.Event{
		{Kind: shard.EventConnect, Conn: 1, Ack: func(err error) {
			if answers++; !errors.Is(err, ErrEnded) {
				t.Errorf("connect: %v", err)
			}
		}},
		{Kind: shard.EventDisconnect, Conn: 2, Reason: transport.ReasonPeerClosed},
		{Kind: shard.EventList, List: list},
	}}
	c := &control{}
	c.settleAll(u)
	<-list.Done
	if answers != 1 || len(c.gone) != 1 || c.gone[0] != 2 {
		t.Errorf("%d connects answered, %v gone; want 1, [2]", answers, c.gone)
	}
}

// shutPanics is a ring whose first Shutdown panics.
type shutPanics struct {
	*scriptRing
	panicked bool
}

func (r *shutPanics) Shutdown(fd int32) error {
	if !r.panicked {
		r.panicked = true
		panic("planted")
	}
	return r.scriptRing.Shutdown(fd)
}

// A shard takes its events in batches. If one of them panics, those before it in the batch have
// been handled, and those from it on are answered by the end of the pipeline.
func TestEndAnswersEachEventOnceAfterAPanic(t *testing.T) {
	b := newTable(t, func(c *Config) {
		open := c.OpenRing
		c.OpenRing = func(i int, rc transport.RingConfig) (transport.Ring, error) {
			ring, err := open(i, rc)
			return &shutPanics{scriptRing: ring.(*scriptRing)}, err
		}
	})
	answers := map[uint64][]error{}
	connect := func(id uint64) shard.Event {
		return shard.Event{
			Kind: shard.EventConnect, Conn: id, Hash: transport.Hash(id), FD: int32(id),
			Ack: func(err error) { answers[id] = append(answers[id], err) },
		}
	}
	b.permit.Add(3)
	for _, ev := range []shard.Event{
		connect(1), connect(2), {Kind: shard.EventKick, Conn: 1,
			Hash: transport.Hash(1)}, connect(3),
	} {
		b.mail.events.TrySend(ev)
	}
	b.control.Step(b.now)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the kick did not panic: this run shows nothing")
			}
		}()
		b.shards[0].Step(b.now)
	}()
	b.finish(errors.New("the shard panicked"))
	for id, want := range map[uint64]error{1: nil, 2: nil, 3: ErrEnded} {
		if got := answers[id]; len(got) != 1 || !errors.Is(got[0], want) {
			t.Errorf("connect %d was answered %v, want once, with %v", id, got, want)
		}
	}
}
