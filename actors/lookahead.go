package actors

import (
	"sluice/actors/internal/shard"
	"sluice/telemetry"
)

// laneEntry is a slot on its way past the gate (R12). It is a copy: the original stays in the ring,
// marked overtaken, and is skipped when its turn comes.
type laneEntry[R, Q any] struct {
	after    uint64 // the encoder takes it after the ring up to here and before anything further
	position uint64 // position of the slot in the ring
	slot     Slot[R, Q]
}

// lookAhead is what the gate knows about the slots behind a waiting head.
//
//	position ......... next ........ scanned ........ published
//	  counted by connection | to count |  not examined
//
// Nothing is counted until the first bypass slot is found behind a shut gate. From then on every
// waiting slot is counted once, until none waits. A gate without bypass slots pays one flag test
// for each waiting slot.
type lookAhead struct {
	next     uint64     // ring position of the next slot to examine
	counting bool       // waiting holds the slots of [position, next)
	waiting  connCounts // number of waiting slots, by connection
	topics   int        // number of waiting topic frames, whose connections are not known here
	held     bool       // a bypass slot waits behind its own connection
	recheck  bool       // held, and something was released since, so it may overtake now
}

// scan examines slots behind the waiting head, at most one batch. It stamps those that are new, and
// lets bypass slots overtake whose connection has no earlier waiting slot. In several steps it
// covers the whole ring, which is bounded.
func (g *gate[R, Q]) scan(now int64) (work int) {
	base := g.slots.Position()
	g.ahead.next = max(g.ahead.next, base)
	slots := g.slots.Ahead(int(g.ahead.next-base), g.batch)
	if len(slots) == 0 && g.ahead.recheck {
		g.restart(base)
		return 1
	}
	for i := range slots {
		s, position := &slots[i], g.ahead.next
		if position >= g.scanned {
			g.firstLook(s, now)
			g.scanned = position + 1
		}
		if s.Bypass && !g.ahead.counting {
			g.restart(base)
			return work + 1
		}
		if s.Bypass && !s.overtaken && g.ahead.first(s.Conn) && !g.overtake(s, now) {
			return work // the lane is full: the encoder has to catch up first
		}
		if g.ahead.counting && !s.overtaken {
			if s.Kind == KindTopic {
				g.ahead.topics++
			} else {
				g.ahead.waiting.add(s.Conn, 1)
			}
			g.ahead.held = g.ahead.held || s.Bypass
		}
		g.ahead.next++
		work++
	}
	return work
}

// first reports that no waiting slot must be sent to a connection before a bypass slot of it is. Any
// connection may subscribe to a waiting topic frame.
func (a *lookAhead) first(conn uint64) bool { return a.topics == 0 && a.waiting.get(conn) == 0 }

// restart begins counting the waiting slots from the head.
func (g *gate[R, Q]) restart(base uint64) {
	g.ahead.counting, g.ahead.held, g.ahead.recheck = true, false, false
	g.ahead.next, g.ahead.topics = base, 0
	g.ahead.waiting.reset()
}

// firstLook stamps a slot that has to wait, and records which cursors it waits for.
func (g *gate[R, Q]) firstLook(s *Slot[R, Q], now int64) {
	s.waits, s.crossed = 0, 0
	g.arrive(s, now)
	if s.Bypass {
		return
	}
	if s.Seq > g.verdict.Journal {
		s.waits |= shard.BelowJournal
	}
	if s.Seq > g.verdict.Replicas {
		s.waits |= shard.BelowReplicas
	}
	s.waits |= s.waits << shard.RecordWaits
}

// overtake sends a copy of s ahead of the slots that wait; it returns false if the lane is full.
// The order against earlier slots of its connection holds because those were released before
// (after), and against later ones because the encoder empties the lane up to its ring position
// first.
func (g *gate[R, Q]) overtake(s *Slot[R, Q], now int64) bool {
	room := g.lane.Claim(1)
	if room == nil {
		return false
	}
	s.opened = now
	g.choose(s)
	room[0] = laneEntry[R, Q]{after: g.slots.Position(), position: g.ahead.next, slot: *s}
	s.overtaken = true
	g.lane.Commit(1)
	g.lane.Publish()
	g.rec.B.C[telemetry.GateSlots]++
	g.rec.B.C[telemetry.GateBypassed]++
	g.rec.B.C[telemetry.GateOvertaken]++
	return true
}

// forget subtracts released slots from the counts.
func (g *gate[R, Q]) forget(slots []Slot[R, Q]) {
	base := g.slots.Position()
	for i := range slots {
		if base+uint64(i) >= g.ahead.next {
			break
		}
		switch s := &slots[i]; {
		case s.overtaken:
		case s.Kind == KindTopic:
			g.ahead.topics--
		default:
			g.ahead.waiting.add(s.Conn, -1)
		}
	}
	if base+uint64(len(slots)) >= g.ahead.next {
		g.ahead.counting, g.ahead.held, g.ahead.recheck = false, false, false
		g.ahead.topics = 0
		return
	}
	g.ahead.recheck = g.ahead.held
}

// connCounts counts slots by connection: open addressing with linear probing on the connection's
// id, emptied as a whole. Entries that fall to zero stay until the table is full, which keeps
// probing simple. The others then move to a new table, of twice the size only if they need it, so
// that its size depends on the slots that wait and not on the connections ever seen.
type connCounts struct {
	entries []connCount
	used    int
}

type connCount struct {
	conn uint64 // 0 if free: a slot's connection is never 0
	n    int32
}

func (c *connCounts) reset() {
	clear(c.entries)
	c.used = 0
}

func (c *connCounts) get(conn uint64) int32 {
	if len(c.entries) == 0 {
		return 0
	}
	return c.entries[c.find(conn)].n
}

func (c *connCounts) add(conn uint64, n int32) {
	if 4*c.used >= 3*len(c.entries) {
		c.grow()
	}
	e := &c.entries[c.find(conn)]
	if e.conn == 0 {
		e.conn = conn
		c.used++
	}
	if e.n += n; e.n < 0 {
		panic("actors: more waiting slots released than were counted")
	}
}

// find returns the index of conn's entry, or of the free entry where it belongs.
func (c *connCounts) find(conn uint64) int {
	mask := len(c.entries) - 1
	i := int(conn*0x9E3779B97F4A7C15>>32) & mask // Fibonacci hashing: ids are often consecutive
	for c.entries[i].conn != 0 && c.entries[i].conn != conn {
		i = (i + 1) & mask
	}
	return i
}

func (c *connCounts) grow() {
	old, live := c.entries, 0
	for _, e := range old {
		if e.n != 0 {
			live++
		}
	}
	size := max(1024, len(old))
	if 2*live > len(old) {
		size = 2 * len(old)
	}
	c.entries, c.used = make([]connCount, size), 0
	for _, e := range old {
		if e.n != 0 {
			c.entries[c.find(e.conn)] = e
			c.used++
		}
	}
}
