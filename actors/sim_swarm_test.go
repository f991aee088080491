package actors

import (
	"sluice/transport"
)

// swarm is the shape of a world, drawn from its seed (swarm testing: each seed leaves out or
// favours some features).
type swarm struct {
	replicas, ids, maxBurst                int
	slowPct, bypassPct, badPct, alonePct   int
	window, slowRead                       int
	flap, swap, churn, stall, vanish, torn int // one in this many steps
	spins, sleep                           int // empty rounds before a group sleeps, and for how long at most
	starve                                 int // one in this many disturbances keeps a goroutine from running for a while
	tracedPct                              int // slots whose request came with a trace
	midEncode                              int // one in this many frames another goroutine runs inside the encoder
	finale                                 finale
	endStep                                int // the end begins at this step, -1: when all is delivered
	grace                                  int // ns until the deadline of the end
	weaken                                 bool
	stubborn                               bool // readers release no socket before the pipeline has stopped
}

func drawSwarm(r *simRand, steps int) swarm {
	s := swarm{
		replicas: r.n(3), ids: pick(r, 2, 6, 16), maxBurst: pick(r, 1, 4, 16, 64),
		slowPct: pick(r, 0, 20, 60), bypassPct: pick(r, 0, 5, 50), badPct: pick(r, 0, 0, 1),
		alonePct: pick(r, 0, 0, 20),
		window:   pick(r, 64, 600, 5000), slowRead: pick(r, 10, 100),
		flap: pick(r, 0, 60, 400), swap: pick(r, 0, 20, 200), churn: pick(r, 2, 10, 60),
		stall:  pick(r, 0, 500),
		vanish: pick(r, 0, 1, 5), torn: pick(r, 0, 0, 30),
		spins: r.n(4), sleep: pick(r, 50, 500, 3000), starve: pick(r, 0, 5, 50),
		midEncode: pick(r, 0, 0, 4),
		finale:    finale(r.n(4)), endStep: -1, grace: pick(r, 2000, 50000), weaken: r.oneIn(2),
		stubborn: r.oneIn(4),
	}
	if r.oneIn(4) {
		s.endStep = r.n(steps)
	}
	s.tracedPct = pick(r, 0, 0, 30)
	return s
}

// drawFaults draws what the rings do wrong, and what may be asked of the pipeline in such a world.
func (w *world) drawFaults() transport.Faults {
	r := w.r
	if r.oneIn(6) { // a kernel without faults, and clients that read: no client may delay another
		w.healthy = true
		return transport.Faults{Reorder: 0.5, LateTicks: 4}
	}
	p := func() float64 { return pick(r, 0, 0, 0.002, 0.03) }
	f := transport.Faults{
		ShortSend: pick(r, 0, 0.05, 0.4), Again: p(), Interrupted: p(), NoBuffers: p(),
		NoMemory: p(),
		Reset:    p() / 8, Pipe: p() / 8, LateSend: pick(r, 0, 0.05, 0.5), LatePoll: pick(r, 0, 0.3),
		LostPoll:  p(),
		StuckSend: p() / 8, StuckPoll: p() / 8, Reorder: pick(r, 0, 0.5), PartialSubmit: p(),
		SignalSubmit: p(),
		LateTicks:    pick(r, 4, 40),
	}
	if r.oneIn(12) {
		f.Doubt = 0.002
	}
	w.stuck = f.StuckSend > 0 || f.StuckPoll > 0
	w.late = w.stuck || f.LateSend > 0 || f.PartialSubmit > 0
	return f
}
