package mailbox

import "sync/atomic"

// Waker wakes one sleeping goroutine. Wake may be called by any goroutine, at any time and more
// often than needed, and never blocks. A wake-up that arrives while the goroutine is awake must be
// kept until its next sleep. A channel of capacity one with a non-blocking send is such a waker.
type Waker interface{ Wake() }

// Signal is the parking flag of one goroutine, its owner. All mailboxes that the owner reads from
// share the owner's Signal (SetSignal), so that each of them can end its sleep. A mailbox in which
// the owner waits for room has a flag of its own in front of the same Waker (SetRoom), because room
// arises all the time and is rarely waited for.
//
// If the owner sleeps in exactly this way, no wake-up is lost:
//
//	signal.Prepare()
//	if anyInboxHasWork() {   // the re-check, after Prepare
//		signal.Cancel()
//	} else {
//		<-token              // until the Waker is called; may return spuriously
//	}
//
// The other side publishes and then calls Wake. Both sides write first and read second, and Go's
// atomics have one total order, so at least one of them sees the other's write:
//
//	owner                        publisher
//	flag = 1                     position = n
//	reads position: sees n, or   reads flag: sees 1
//	reads it too early and       and then wakes the owner
//	sleeps until woken
//
// An owner that wakes for another reason (a timer, a leftover token) calls Cancel, or Prepare
// again.
type Signal struct {
	waker Waker
	_     [cacheLine]byte
	// parked is 1 while the owner sleeps or is about to. Set by the owner, cleared by the owner
	// (Cancel) or by the goroutine that wakes it (Wake), read by every goroutine that calls Wake.
	parked atomic.Uint32
	_      [cacheLine - 4]byte
}

// NewSignal returns the Signal of the goroutine that waker wakes. It panics if waker is nil.
func NewSignal(waker Waker) *Signal {
	if waker == nil {
		panic("mailbox: NewSignal with a nil Waker: nothing could ever end the sleep")
	}
	return &Signal{waker: waker}
}

// Prepare announces that the owner is about to sleep. The owner must look at all its inboxes once
// more between Prepare and its sleep. Owner only.
func (s *Signal) Prepare() { s.parked.Store(1) }

// Cancel undoes Prepare: the owner stays awake. A wake-up already under way may still arrive and
// ends one later sleep at once. Owner only.
func (s *Signal) Cancel() { s.parked.Store(0) }

// Wake wakes the owner if it sleeps or is about to; otherwise it costs one atomic load. Any
// goroutine may call it, after it has made visible what the owner should find. Each Prepare causes
// at most one call of the Waker. A nil Signal belongs to a goroutine that never sleeps: Wake does
// nothing.
func (s *Signal) Wake() {
	// While the owner is busy, the load lets all callers share the flag's cache line; only the swap
	// takes it exclusively.
	if s != nil && s.parked.Load() != 0 && s.parked.Swap(0) != 0 {
		s.waker.Wake()
	}
}
