package actors

import (
	"slices"
	"time"

	"sluice/actors/internal/shard"
	"sluice/transport"
)

// What a world checks over time: that clients that take nothing are ended in time, that quiet ones
// receive heartbeats, that memory is freed by ending the connection that holds most of it, and that
// lists of connections are right.

// simClasses is how many classes of limits connections have.
const simClasses = 2

// drawLimits draws the limits of two classes, and those that a reload changes to.
func (w *world) drawLimits() {
	l := transport.Limits{HardBytes: pick(w.r, 1024, 4096, 16384), SoftFor: 8000,
		NoProgress: time.Duration(pick(w.r, 10000, 20000))}
	l.SoftBytes = l.HardBytes / 2
	if w.healthy {
		l.SoftFor, l.NoProgress = 40000, 40000
	}
	small := l
	small.HardBytes, small.SoftBytes = l.HardBytes/2, l.SoftBytes/2
	w.limits[0] = []transport.Limits{l, small}
	l.SoftBytes, small.SoftBytes = l.SoftBytes/2, small.SoftBytes/2
	w.limits[1] = []transport.Limits{l, small}
}

// reload puts the other limits in force.
func (w *world) reload() {
	w.stats.Reloads++
	if err := w.p.SetLimits(w.limits[w.stats.Reloads%2]); err != nil {
		w.fail("limits were refused: %v", err)
	}
}

// still is for how long a client has been as it is.
type still struct {
	moved uint64 // bytes that our kernel and its took so far
	since int64  // when that last changed, or nothing was unsent
	over  int64  // since when more than the soft limit is unsent, and not a byte left; 0 = it is not
}

// simPatience (ns) is how much later than its limit a client is ended at most: ticks come late
// while a group sleeps.
const simPatience = 9_000

// overstayed checks that a connection whose peer takes nothing is ended in time (R23), and that a
// quiet one receives heartbeats (R24).
func (w *world) overstayed(c *transport.Conn) {
	if !c.Has(transport.StateOpen) || c.Has(transport.StateClosing) || int(c.ID) >= len(w.byID) {
		return
	}
	p := w.byID[c.ID]
	if p == nil || p.opened != c.OpenedAt || w.swarm.starve != 0 && !w.healthy {
		return
	}
	l, s := &w.limits[0][c.Class], &p.still
	// what a socket drops looks like what its peer takes
	moved := c.Sent + p.sim.Taken() + p.sim.Lost()
	if s.since == 0 || moved != s.moved || c.Unsent() == 0 {
		*s = still{moved: moved, since: w.now}
	}
	if c.Unsent() <= l.SoftBytes {
		s.over = 0
	} else if s.over == 0 {
		s.over = w.now
	}
	switch {
	case w.now-s.since > int64(l.NoProgress)+simPatience:
		w.fail("%v: nothing of its %d unsent bytes moved for %d ns, and it is not closed (R23)", p,
			c.Unsent(), w.now-s.since)
	case s.over != 0 && w.now-s.over > int64(l.SoftFor)+simPatience:
		w.fail("%v: has had %d unsent bytes for %d ns, more than the soft limit, and is not closed (R23)", p, c.Unsent(), w.now-s.over)
	}
	if w.listens(p) && !w.p.phase.Ending() {
		silence := w.now - p.heard
		if w.stats.Silence = max(w.stats.Silence, silence); silence > simSilence {
			w.fail("%v: received nothing for %d ns (R24)", p, silence)
		}
	}
}

// listens reports that every byte to p arrives as soon as it was sent, and that the shards' timers
// are on time.
func (w *world) listens(p *peer) bool {
	return w.healthy && !p.slow && !p.cut && !p.gone && p.closed == transport.ReasonNone &&
		w.swarm.window >= 600 && w.swarm.sleep <= 50
}

// simSilence (ns) is twice the longest silence of clean seeds; a heartbeat is due after 5,000 ns.
const simSilence = 20_000

// heartbeat checks that one is sent only to a client that received nothing for the interval (R24).
func (p *peer) heartbeat() {
	if p.w.listens(p) && p.quiet < 5000-1000 {
		p.w.fail("%v: a heartbeat %d ns after the last byte (R24)", p, p.quiet)
	}
}

// slotsBefore is how many of its slots stand before a ring position.
func (p *peer) slotsBefore(position uint64) int {
	n, _ := slices.BinarySearchFunc(p.slots, position, func(s tickSlot, at uint64) int {
		if s.position < at {
			return -1
		}
		return 1
	})
	return n
}

// simTap is a shard's ring that shows the world which sockets are shut.
type simTap struct {
	*transport.SimRing
	w     *world
	shard int
}

// Shutdown implements transport.Ring. A connection that ends for lack of memory holds most of it:
// no other whose socket refuses bytes has more unsent (R23).
func (t simTap) Shutdown(fd int32) error {
	e := t.w.p.shards[t.shard]
	for i := range e.Table() {
		c := &e.Table()[i]
		if c.FD != fd || !c.Has(transport.StateOpen) || c.Reason != transport.ReasonShardBudget {
			continue
		}
		for j := range e.Table() {
			o := &e.Table()[j]
			if o.Has(transport.StateOpen) && !o.Has(transport.StateClosing) &&
				o.BlockedSince() != 0 && o.Unsent() > c.Unsent() {
				t.w.fail("connection %d with %d unsent bytes is ended for lack of memory; %d, whose socket refuses bytes, has %d (R23)", c.ID, c.Unsent(), o.ID, o.Unsent())
			}
		}
	}
	return t.SimRing.Shutdown(fd)
}

// listRequest is a list of connections under way, as Pipeline.Top asks for it.
type listRequest struct {
	parts []*shard.Listing
	sent  int // of parts: on their way
}

// answered reports that no list is under way.
func (l *listRequest) answered() bool { return len(l.parts) == 0 }

// askList asks every shard for its connections.
func (w *world) askList() {
	l := &w.lists
	if l.answered() && !w.ending && w.faults {
		for range w.p.shards {
			by := SortBy(w.r.n(3))
			rank := func(f *shard.Figures) int64 { return by.rank((*Figures)(f)) }
			l.parts = append(l.parts, &shard.Listing{Next: 1, Done: make(chan struct{}),
				Conns: shard.Ranked[shard.Figures]{Rank: rank, Top: make([]shard.Figures, 0, 3)}})
		}
	}
	w.takeList()
}

// takeList asks the shards that were not asked yet, and checks a list that is whole.
func (w *world) takeList() {
	l := &w.lists
	for l.sent < len(l.parts) && w.p.mail.events.TrySend(shard.Event{Kind: shard.EventList,
		FD: int32(l.sent), List: l.parts[l.sent]}) {
		l.sent++
	}
	for i, part := range l.parts {
		select {
		case <-part.Done:
		default:
			return
		}
		top := part.Conns.Top
		if len(top) != min(part.Open, cap(top)) {
			w.fail("shard %d lists %d of %d connections", i, len(top), part.Open)
		}
		for _, f := range top {
			if int(f.Conn) >= len(w.used) || !w.used[f.Conn] || f.Shard != i {
				w.fail("shard %d lists connection %d of shard %d", i, f.Conn, f.Shard)
			}
		}
	}
	if len(l.parts) > 0 {
		w.stats.Lists++
	}
	l.parts, l.sent = l.parts[:0], 0
}
