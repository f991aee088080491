package telemetry

import (
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// answerTimeout bounds how long one collection waits for running actors. The
	// blocks of actors that did not answer arrive with a later collection.
	answerTimeout = 2 * time.Millisecond
	answerPoll    = 20 * time.Microsecond
)

// Collector takes the blocks of all recorders and adds them up. Any goroutine may use it; a mutex
// serializes them, and actors never acquire that mutex. Call Collect at least once a minute, because
// bucket counts in a block are 32 bits wide.
type Collector struct {
	clock   Clock
	timeout time.Duration

	mu      sync.Mutex
	actors  []*source
	gauges  []Gauge
	loops   []Loop
	views   []*View
	taken   Nanos // moment of the last collection
	started bool  // there was a collection
}

// source is one actor: its recorder and what was collected from it.
type source struct {
	rec    *Recorder
	totals Totals
}

// NewCollector returns a collector without actors.
func NewCollector(clock Clock) *Collector {
	return &Collector{clock: clock, timeout: answerTimeout}
}

// Register returns a new recorder for an actor. The actor argument is its kind ("gate", "egress"), the
// same for all shards; shard distinguishes them. Call it before the actor starts.
func (c *Collector) Register(actor string, shard int) *Recorder {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &source{rec: newRecorder(),
		totals: Totals{Actor: actor, Shard: shard, AnsweredAt: c.clock.Now()}}
	c.actors = append(c.actors, s)
	slices.SortStableFunc(c.actors, func(a, b *source) int {
		if d := strings.Compare(a.totals.Actor, b.totals.Actor); d != 0 {
			return d
		}
		return a.totals.Shard - b.totals.Shard
	})
	return s.rec
}

// Collect takes every block that an actor hands over within 2 ms. If the last collection is younger
// than minAge, it does nothing. It returns the number of actors that did not answer; what they
// recorded arrives with a later collection.
func (c *Collector) Collect(minAge time.Duration) (stale int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started && time.Duration(c.clock.Now()-c.taken) < minAge {
		return 0
	}
	return c.collect()
}

// Final collects what is left after every actor has parked for good. It makes two passes, because an
// actor that handed a block over late and then parked has left two blocks. It returns the number of
// actors that still run: their numbers may be incomplete.
func (c *Collector) Final() (running int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.collect()
	return c.collect()
}

// collect makes one pass. The caller holds the mutex.
func (c *Collector) collect() (stale int) {
	waiting := slices.Clone(c.actors)
	for _, s := range waiting {
		s.rec.request()
	}
	deadline := c.clock.Now() + int64(c.timeout)
	for {
		waiting = slices.DeleteFunc(waiting, c.merge)
		if len(waiting) == 0 || c.clock.Now() >= deadline {
			break
		}
		time.Sleep(answerPoll)
	}
	for _, s := range waiting {
		s.totals.Stale++
	}
	c.taken, c.started = c.clock.Now(), true
	return len(waiting)
}

// merge takes one actor's block if it is available, and reports whether it was.
func (c *Collector) merge(s *source) bool {
	b := s.rec.take()
	if b == nil {
		return false
	}
	s.totals.add(b)
	s.totals.AnsweredAt = c.clock.Now()
	for _, v := range c.views {
		v.mark(s, b)
	}
	s.rec.recycle(b)
	return true
}

// Each calls f with the totals of every actor, ordered by actor and shard. The totals belong to the
// collector: they are valid during the call only, and f must not change them.
func (c *Collector) Each(f func(t *Totals)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.actors {
		f(&s.totals)
	}
}

// Sum returns the sum of all actors' totals; a high-water mark is the highest of all actors.
func (c *Collector) Sum() *Totals {
	sum := &Totals{Shard: NoShard}
	c.Each(func(t *Totals) { sum.merge(t) })
	return sum
}

// View is one reader's copy of the high-water marks. Each exporter has its own, so that two exporters
// do not reset each other's marks.
type View struct {
	c     *Collector
	marks map[*source]*[NumMarks]uint64 // guarded by the collector's mutex
}

// NewView returns a view whose marks are 0.
func (c *Collector) NewView() *View {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := &View{c: c, marks: make(map[*source]*[NumMarks]uint64)}
	c.views = append(c.views, v)
	return v
}

func (v *View) mark(s *source, b *Block) {
	m := v.marks[s]
	if m == nil {
		m = new([NumMarks]uint64)
		v.marks[s] = m
	}
	for i, w := range b.M {
		m[i] = max(m[i], w)
	}
}

// Each calls f as Collector.Each does, with the marks since the previous Each of this view.
func (v *View) Each(f func(t *Totals, marks [NumMarks]uint64)) {
	v.c.mu.Lock()
	defer v.c.mu.Unlock()
	for _, s := range v.c.actors {
		var marks [NumMarks]uint64
		if m := v.marks[s]; m != nil {
			marks, *m = *m, marks
		}
		f(&s.totals, marks)
	}
}
