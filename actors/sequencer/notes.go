package sequencer

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"sluice/durability"
	"sluice/mailbox"
)

// ErrBusy is returned by Queue.Connected, Queue.Introduce and Queue.Policy: too many connections have begun, or
// policies were given, that the sequencer has not taken notice of. Close the connection; the client may try again.
var ErrBusy = errors.New("sequencer: too many new connections or policies wait for the sequencer")

// notesMost is the number of notes above which no new connection is taken.
const notesMost = 1 << 17

// policiesMost is the number of policies above which no further one is taken.
const policiesMost = 64

// note is an event that is not a request: a connection begins or has ended, or a key gets a number.
type note struct {
	after uint64 // requests that were put before it, which are sequenced before it
	kind  Kind
	conn  uint64
	id    Identity
}

// notes is the list beside the ring of requests. It has at most two notes of a connection and one of
// a key, and a put never waits, so that the end of a connection finds room when the ring is full.
type notes struct {
	mu       sync.Mutex          // guards list, policies and refuses
	list     []note              // in order of after
	policies []durability.Policy // that come into force before everything else
	refuses  bool                // connections no longer begin
	ended    bool                // nothing is noted any more
	waiting  atomic.Int64        // length of list
	urgent   atomic.Int64        // length of policies
	done     atomic.Bool         // ended, and the list is empty or was taken
	signal   *mailbox.Signal
}

// Introduce gives a key the number of its identity, before the first Put or Connected with that
// number. It never waits. Any goroutine. The error is ErrBusy or ErrClosed.
func (q *Queue) Introduce(number uint32, key [8]byte) error {
	return q.note(note{kind: KindIdentity, id: Identity{Number: number, Key: key}})
}

// Connected notes that a connection begins: it is sequenced after the requests that are in the
// queue, and before those that are put later. Use it for an application that is a
// ConnectionObserver. It never waits. Any goroutine. The error is ErrBusy or ErrClosed.
func (q *Queue) Connected(conn uint64, id Identity) error {
	return q.note(note{kind: KindConnected, conn: conn, id: id})
}

// Disconnected notes that a connection has ended, after the last Put of its requests has returned.
// It is sequenced after them. Call it once for each Connected that returned nil. It never waits.
// Any goroutine. After Close it does nothing; the next run then ends the connection.
func (q *Queue) Disconnected(conn uint64, id Identity) {
	_ = q.note(note{kind: KindDisconnected, conn: conn, id: id}) // ErrClosed
}

// Policy has a policy put in force by an event of the journal: what is sequenced after it is released
// under no earlier policy, on this node and on any that continues from the journal. See
// Config.OnPolicy. It overtakes the requests and notes that wait, which may wait for nothing but
// another policy. Check the policy against the size of the cluster first. It never waits. Any
// goroutine. The error is ErrBusy or ErrClosed, or says that the policy has no clause.
func (q *Queue) Policy(p durability.Policy) error {
	if p.Len() == 0 {
		return errors.New("sequencer: a policy without a clause; make one with durability.Parse")
	}
	s := &q.notes
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.refuses:
		return ErrClosed
	case len(s.policies) >= policiesMost:
		return ErrBusy
	}
	s.policies = append(s.policies, p)
	s.urgent.Store(int64(len(s.policies)))
	s.signal.Wake()
	return nil
}

func (q *Queue) note(n note) error {
	s := &q.notes
	s.mu.Lock()
	defer s.mu.Unlock()
	ends := n.kind == KindDisconnected
	switch {
	case s.ended, s.refuses && !ends:
		return ErrClosed
	case len(s.list) >= notesMost && !ends:
		return ErrBusy
	}
	n.after = q.puts.Load()
	s.list = append(s.list, n)
	s.waiting.Store(int64(len(s.list)))
	s.signal.Wake()
	return nil
}

// refuse has Connected, Introduce and Policy fail, and with end also Disconnected.
func (s *notes) refuse(end bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses, s.ended = true, end
	s.done.Store(end)
	s.signal.Wake()
}

// take returns the list and leaves empty, a list that was taken before, in its place.
func (s *notes) take(empty []note) []note {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.list
	s.list = empty[:0]
	s.waiting.Store(0)
	return list
}

// Requests is the sequencer's end of a Queue: requests and notes, in their order.
type Requests struct {
	ring  *mailbox.BytesReader
	notes *notes
	list  []note // taken from notes
	next  int    // index of the first one that was not sequenced
	taken uint64 // requests that were sequenced
}

// note returns the next note if its turn has come, nil otherwise. Before a request is sequenced, it
// is called with that request in hand: what was noted before the request was put is visible then.
func (r *Requests) note() *note {
	if r.next == len(r.list) {
		if r.notes.waiting.Load() == 0 {
			return nil
		}
		r.list, r.next = r.notes.take(r.list), 0
	}
	if n := &r.list[r.next]; n.after <= r.taken {
		return n
	}
	return nil
}

// policy returns the policy that is to be put in force next; false if there is none.
func (r *Requests) policy() (p durability.Policy, ok bool) {
	s := r.notes
	if s.urgent.Load() == 0 {
		return p, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.policies[0], true
}

// inForce drops the policy that was returned last: its event is journaled.
func (r *Requests) inForce() {
	s := r.notes
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policies = slices.Delete(s.policies, 0, 1)
	s.urgent.Store(int64(len(s.policies)))
}

// done reports that the queue is closed, and that all requests and notes were taken.
func (r *Requests) done() bool {
	return r.notes.done.Load() && r.ring.Done() && r.next == len(r.list) && r.notes.waiting.Load() == 0 &&
		r.notes.urgent.Load() == 0
}

func (r *Requests) setSignal(s *mailbox.Signal) {
	r.ring.SetSignal(s)
	r.notes.signal = s
}
