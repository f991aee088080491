package durability

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// snapshotTries bounds the attempts of one Snapshot. A write takes about ten nanoseconds, so this
// many attempts outlast it, unless its goroutine was descheduled in the middle; then more attempts
// would not help.
const snapshotTries = 64

// anyIncarnation matches every incarnation of a replica; real ones count from 1.
const anyIncarnation = 0

// Cursors keeps the cursors of the primary and its replicas and is the Source of a node that runs
// on its own or is fed by replica links in the same process. Any goroutine may write; one write is
// seen whole or not at all.
//
// It is a sequence lock. A writer makes the version odd, writes, and makes it even again. A reader
// that sees the same even version before and after its reads has the values of one instant. Without
// it the gate could combine an in-memory cursor from before a replica's crash with a persisted
// cursor from after it, and release what no instant allowed:
//
//	gate                          replica link
//	reads in_memory of node 1
//	                              node 1 restarts: its in_memory falls
//	                              node 2 persists
//	reads persisted of node 2
//	both clauses "hold"           they never held together
//
// All fields that a reader reads are atomics: there is no data race, and Go's memory model orders
// them without further fences.
type Cursors struct {
	replicas int // fixed at construction
	waker    atomicWaker

	mu           sync.Mutex       // serialises writers
	isShut       bool             // under mu: nothing is in view any more, and nothing is proven
	incarnations [MaxNodes]uint64 // under mu: activations of each node

	proven  atomic.Uint64    // last ticket proven; rises; written by Prove under mu, read by Snapshot
	version atomic.Uint64    // odd while a write is under way; written by writers under mu, read by Snapshot
	active  atomic.Uint32    // bit i: node i is in view; written by writers under mu, read by Snapshot
	nodes   [MaxNodes]cursor // written by writers under mu, read by Snapshot
}

// cursor is one node's pair; see Node.
type cursor struct {
	inMemory  atomic.Uint64
	persisted atomic.Uint64
}

func (c *cursor) load() (inMemory, persisted Seq) {
	return Seq(c.inMemory.Load()), Seq(c.persisted.Load())
}

func (c *cursor) store(inMemory, persisted Seq) {
	c.inMemory.Store(uint64(inMemory))
	c.persisted.Store(uint64(persisted))
}

var _ Source = (*Cursors)(nil)

// NewCursors returns the cursors of a primary with the given number of replicas, 0 to MaxNodes-1.
// Replicas are numbered from 1. The primary is active with nothing persisted; the replicas are not
// active.
func NewCursors(replicas int) *Cursors {
	if replicas < 0 || replicas > MaxNodes-1 {
		panic(fmt.Sprintf("durability: cursors for %d replicas; 0 to %d are possible", replicas,
			MaxNodes-1))
	}
	c := &Cursors{replicas: replicas}
	c.nodes[0].inMemory.Store(uint64(Everything))
	c.active.Store(1)
	return c
}

// SetWaker sets the waker that every change calls, after the change is visible. Any goroutine; nil
// for none.
func (c *Cursors) SetWaker(w Waker) { c.waker.set(w) }

// Snapshot fills v with the cursors of one instant; see Source.
func (c *Cursors) Snapshot(v *View) bool {
	for range snapshotTries {
		version := c.version.Load()
		if version&1 != 0 {
			continue
		}
		active := c.active.Load()
		v.Proven = c.proven.Load()
		n := 0
		for id := 0; id <= c.replicas; id++ {
			if active&(1<<id) == 0 {
				continue
			}
			inMemory, persisted := c.nodes[id].load()
			v.Nodes[n] = Node{id, inMemory, persisted}
			n++
		}
		if c.version.Load() == version {
			v.Len = n
			return true
		}
	}
	v.Len = 0 // A caller that ignores the result must not open the gate.
	return false
}

// SetPersisted moves the primary's persisted cursor in the order of its journal. It panics if the
// cursor would fall, because responses may already have been released on it.
func (c *Cursors) SetPersisted(persisted Seq) { c.move(0, anyIncarnation, Everything, persisted) }

// Activate brings a replica into view with the cursors it has now and starts a new incarnation of
// it. Only the returned Feed has an effect from then on. A replica that is already active is
// replaced in one write. Its cursors may be lower than before, because it may have lost its memory
// or its disk.
func (c *Cursors) Activate(replica int, inMemory, persisted Seq) Feed {
	c.checkReplica(replica)
	c.mu.Lock()
	c.incarnations[replica]++
	feed := Feed{c, replica, c.incarnations[replica]}
	if c.isShut {
		c.mu.Unlock()
		return feed
	}
	c.version.Add(1)
	c.nodes[replica].store(inMemory, persisted) // Seeded before it is in view, zeroed after it left: see Deactivate.
	c.active.Or(1 << replica)
	c.version.Add(1)
	c.mu.Unlock()
	c.waker.wake()
	return feed
}

// Advance moves the cursors of an active replica of any incarnation; false if it is not active. It
// panics if one of them would fall: only Activate may lower a replica's cursors.
func (c *Cursors) Advance(replica int, inMemory, persisted Seq) bool {
	c.checkReplica(replica)
	return c.move(replica, anyIncarnation, inMemory, persisted)
}

// Deactivate takes a replica out of view; false if it was not in view.
func (c *Cursors) Deactivate(replica int) bool {
	c.checkReplica(replica)
	return c.remove(replica, anyIncarnation)
}

// Prove raises the last ticket proven: this node still led when that ticket was drawn. Any goroutine;
// a lower ticket changes nothing.
func (c *Cursors) Prove(ticket uint64) {
	c.mu.Lock()
	raises := !c.isShut && ticket > c.proven.Load()
	if raises {
		c.proven.Store(ticket)
	}
	c.mu.Unlock()
	if raises {
		c.waker.wake()
	}
}

// Shut takes every node out of view for good: a Snapshot that begins afterwards opens nothing, and
// later writes change nothing, nor does Prove. It ends the cursors of a primary that is one no longer.
func (c *Cursors) Shut() {
	c.mu.Lock()
	c.isShut = true
	c.version.Add(1)
	c.active.Store(0)
	c.version.Add(1)
	c.mu.Unlock()
	c.waker.wake()
}

// Feed writes the cursors of one incarnation of a replica. A link whose replica has reconnected
// elsewhere may hold its old Feed for a while; calls on it then change nothing. Any goroutine may
// use a Feed. The zero Feed is not usable.
type Feed struct {
	cursors     *Cursors
	replica     int
	incarnation uint64
}

// Advance moves the replica's cursors as Cursors.Advance does; false if this incarnation is over.
func (f Feed) Advance(inMemory, persisted Seq) bool {
	return f.cursors.move(f.replica, f.incarnation, inMemory, persisted)
}

// Deactivate takes the replica out of view; false if this incarnation was over before.
func (f Feed) Deactivate() bool { return f.cursors.remove(f.replica, f.incarnation) }

// move writes the cursors of a node in view and calls the waker if that changed them. False: the
// incarnation is over.
func (c *Cursors) move(id int, incarnation uint64, inMemory, persisted Seq) bool {
	live, changed := c.writeMove(id, incarnation, inMemory, persisted)
	if changed {
		c.waker.wake()
	}
	return live
}

func (c *Cursors) writeMove(id int, incarnation uint64, inMemory, persisted Seq) (live, changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.live(id, incarnation) {
		return false, false
	}
	node := &c.nodes[id]
	wasInMemory, wasPersisted := node.load()
	if inMemory < wasInMemory || persisted < wasPersisted {
		panic(fmt.Sprintf("durability: cursors of node %d would fall from in_memory %v, "+
			"persisted %v to %v, %v",
			id, wasInMemory, wasPersisted, inMemory, persisted))
	}
	if inMemory == wasInMemory && persisted == wasPersisted {
		return true, false
	}
	c.version.Add(1)
	node.store(inMemory, persisted)
	c.version.Add(1)
	return true, true
}

// remove takes a node out of view and calls the waker. False: the incarnation was over.
func (c *Cursors) remove(id int, incarnation uint64) bool {
	c.mu.Lock()
	if !c.live(id, incarnation) {
		c.mu.Unlock()
		return false
	}
	c.version.Add(1)
	c.nodes[id].store(0, 0)
	c.active.And(^uint32(1 << id))
	c.version.Add(1)
	c.mu.Unlock()
	c.waker.wake()
	return true
}

// live reports whether the node is in view and has the given incarnation. Called under mu.
func (c *Cursors) live(id int, incarnation uint64) bool {
	return c.active.Load()&(1<<id) != 0 &&
		(incarnation == anyIncarnation || incarnation == c.incarnations[id])
}

func (c *Cursors) checkReplica(replica int) {
	if replica < 1 || replica > c.replicas {
		panic(fmt.Sprintf("durability: replica %d of a cluster with %d; replicas are numbered from 1",
			replica, c.replicas))
	}
}
