package actors

import (
	"errors"
	"testing"

	"sluice/actors/internal/shard"
	"sluice/transport"
)

// unfilled is a closed mailbox with a sender that has its place and fills it only after some looks.
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

// Who took his place before the end is answered, although he filled it when everything had ended: a Connect would wait for
// ever, and a socket stay open.
func TestTheEndWaitsForASenderThatFillsItsPlace(t *testing.T) {
	answers := 0
	u := &unfilled{looks: 3, left: []shard.Event{
		{Kind: shard.EventConnect, Conn: 1, Ack: func(err error) {
			if answers++; !errors.Is(err, ErrEnded) {
				t.Errorf("connect: %v", err)
			}
		}},
		{Kind: shard.EventDisconnect, Conn: 2, Reason: transport.ReasonPeerClosed},
	}}
	c := &control{}
	c.settleAll(u)
	if answers != 1 || len(c.gone) != 1 || c.gone[0] != 2 {
		t.Errorf("%d connects answered, %v gone; want 1, [2]", answers, c.gone)
	}
}
