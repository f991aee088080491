package bench

import (
	"time"

	"sluice/durability"
	"sluice/mailbox"
)

// Gate is the first stage of every peer: the ring that the producer fills, the durability gate and
// a way to park. With it, all peers receive the same slots and hold them back by the same rule. It
// belongs to one goroutine, except Slots and Now.
type Gate struct {
	ring    *mailbox.Writer[Slot]
	input   *mailbox.Reader[Slot]
	policy  durability.Policy
	cursors *durability.Cursors
	durable durability.Seq
	view    durability.View
	clock   clock
	signal  *mailbox.Signal
	token   chan struct{}
	woken   func() // called instead of sending a token; nil for none
	limit   *time.Timer
}

// gateRing is the capacity of the slot ring, the same as in the pipeline.
const gateRing = 1 << 16

// NewGate returns a gate for the policy local. Without cursors it releases every slot at once.
func NewGate(cursors *durability.Cursors) *Gate {
	g := &Gate{policy: durability.Local(), cursors: cursors, clock: newClock(),
		token: make(chan struct{}, 1), limit: time.NewTimer(time.Hour)}
	g.ring, g.input = mailbox.NewSPSC[Slot](gateRing)
	g.signal = mailbox.NewSignal(g)
	g.input.SetSignal(g.signal)
	if cursors != nil {
		cursors.SetWaker(g.signal)
	}
	return g
}

// Wake implements mailbox.Waker. It ends a Wait and is safe from any goroutine.
func (g *Gate) Wake() {
	if g.woken != nil {
		g.woken()
		return
	}
	select {
	case g.token <- struct{}{}:
	default: // a token is already there
	}
}

// OnWake sets a function that is called instead of ending a Wait, for an owner with a loop of its
// own. It must be set before slots are published. Any goroutine may call f, once for each Arm and
// sometimes once more.
func (g *Gate) OnWake(f func()) { g.woken = f }

// Arm requests a wake-up. It returns false if a slot is ready for Poll now, or no more slots will
// come, see Done.
func (g *Gate) Arm() bool {
	g.signal.Prepare()
	if head := g.input.Batch(1); len(head) > 0 && (g.cursors == nil || g.reached(head[0].Seq)) ||
		g.input.Done() {
		g.signal.Cancel()
		return false
	}
	return true
}

// Done reports whether the slots are closed and all were released.
func (g *Gate) Done() bool { return g.input.Done() }

// Slots implements Target.
func (g *Gate) Slots() *mailbox.Writer[Slot] { return g.ring }

// Now implements Target.
func (g *Gate) Now() int64 { return g.clock.now() }

// Poll returns at most most slots whose responses may leave, in order and in place. It does not
// wait. The slots are valid until Release.
func (g *Gate) Poll(most int) []Slot {
	batch := g.input.Batch(most)
	if g.cursors == nil {
		return batch
	}
	for i := range batch {
		s := &batch[i]
		if s.Seq > g.durable && !s.Bypass && !g.reached(s.Seq) {
			return batch[:i]
		}
	}
	return batch
}

// Release returns the first n slots of the last Poll to the producer.
func (g *Gate) Release(n int) { g.input.Release(n) }

// Wait returns when Poll may return slots, or after most; 0 is no limit. It returns false if the
// slots are closed and all were released.
func (g *Gate) Wait(most time.Duration) bool {
	if g.input.Done() {
		return false
	}
	if !g.Arm() {
		return true
	}
	if most == 0 {
		<-g.token
	} else {
		g.limit.Reset(most)
		select {
		case <-g.token:
		case <-g.limit.C:
		}
		g.limit.Stop()
	}
	g.signal.Cancel()
	return true
}

// reached reads the cursors as one snapshot and reports whether seq is durable.
func (g *Gate) reached(seq durability.Seq) bool {
	if g.cursors.Snapshot(&g.view) {
		g.durable = max(g.durable, g.policy.Evaluate(&g.view).Position)
	}
	return seq <= g.durable
}
