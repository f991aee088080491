package telemetry

import "sync/atomic"

// Beat counts the rounds of a loop, so that an observer can tell for how long the loop has not come
// round: the count is odd while the loop works, and even while it waits for work. It costs two stores
// a round and no look at a clock. The zero value is a loop that waits. One goroutine beats; any may
// read.
type Beat struct{ n atomic.Uint64 }

// Begin says that the loop works from here on. If it does already, another round begins.
func (b *Beat) Begin() { b.n.Store(b.n.Load()&^1 + 3) }

// End says that the loop waits for work.
func (b *Beat) End() { b.n.Store((b.n.Load() + 1) &^ 1) }

// Rounds is the count.
func (b *Beat) Rounds() uint64 { return b.n.Load() }

// Loop is a loop that is watched beside the actors.
type Loop struct {
	Name  string // what the loop is: "reader", "journal"
	Index int    // distinguishes loops of one name; NoShard for the only one
	// Rounds changes with each round, and is odd while the loop works. Any goroutine may call it, so
	// it must only load atomics.
	Rounds func() uint64
}

// Watch adds a loop. Call it before the loop starts.
func (c *Collector) Watch(l Loop) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loops = append(c.loops, l)
}

// Loops calls f with every loop that is watched, in the order in which they were added.
func (c *Collector) Loops(f func(l Loop)) {
	c.mu.Lock()
	loops := c.loops[:len(c.loops):len(c.loops)]
	c.mu.Unlock()
	for _, l := range loops {
		f(l)
	}
}
