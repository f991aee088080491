package telemetry

import (
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// answerTimeout bounds how long one collection waits for running actors; the
	// numbers of those that did not answer come with a later one.
	answerTimeout = 2 * time.Millisecond
	answerPoll    = 20 * time.Microsecond
)

// Collector owns the cold side: it takes the blocks of all recorders and adds
// them up. Any goroutine may use it; a mutex orders them, and actors never
// touch that mutex. Collect at least once a minute (bucket counts in a block
// are 32 bits wide).
type Collector struct {
	clock   Clock
	timeout time.Duration

	mu      sync.Mutex
	actors  []*source
	gauges  []Gauge
	views   []*View
	taken   Nanos // moment of the last collection
	started bool  // whether there was one
}

// source is one actor as the collector sees it.
type source struct {
	rec    *Recorder
	totals Totals
}

// NewCollector makes a collector without actors.
func NewCollector(clock Clock) *Collector {
	return &Collector{clock: clock, timeout: answerTimeout}
}

// Register makes the recorder of an actor. Actor is the kind ("gate",
// "egress"), the same for all shards; Shard tells them apart. Call it before
// the actor starts.
func (c *Collector) Register(actor string, shard int) *Recorder {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &source{rec: newRecorder(), totals: Totals{Actor: actor, Shard: shard, AnsweredAt: c.clock.Now()}}
	c.actors = append(c.actors, s)
	slices.SortStableFunc(c.actors, func(a, b *source) int {
		if d := strings.Compare(a.totals.Actor, b.totals.Actor); d != 0 {
			return d
		}
		return a.totals.Shard - b.totals.Shard
	})
	return s.rec
}

// Collect takes every block that an actor gives up within 2 ms, unless the last
// collection is younger than minAge. It returns the number of actors that did
// not answer; what they recorded is not lost, only late.
func (c *Collector) Collect(minAge time.Duration) (stale int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started && time.Duration(c.clock.Now()-c.taken) < minAge {
		return 0
	}
	return c.collect()
}

// Final collects what is left after every actor has parked for good. It takes
// two passes, since an actor that handed a block over late and then parked has
// left two of them. It returns the number of actors that still run: their
// numbers may be incomplete.
func (c *Collector) Final() (running int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.collect()
	return c.collect()
}

// collect is one pass; it holds the mutex.
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

// merge takes one actor's block if it can be had and reports whether it could.
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

// Each calls f with the totals of every actor, ordered by actor and shard. The
// totals are the collector's: valid during the call, not to be changed.
func (c *Collector) Each(f func(t *Totals)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.actors {
		f(&s.totals)
	}
}

// Sum returns all actors' totals added up; the high-water marks are the highest
// of any.
func (c *Collector) Sum() *Totals {
	sum := &Totals{Shard: NoShard}
	c.Each(func(t *Totals) { sum.merge(t) })
	return sum
}

// View is one reader's copy of the high-water marks, so that two exporters do
// not reset each other's.
type View struct {
	c     *Collector
	marks map[*source]*[NumMarks]uint64 // guarded by the collector's mutex
}

// NewView makes a view that starts with empty marks.
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

// Each calls f as Collector.Each does, with the marks since this view's
// previous Each.
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
