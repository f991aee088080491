package durability

import "sync/atomic"

// Waker wakes the goroutine that waits for durability. Wake is called from any goroutine after
// something changed; it must not block. A *mailbox.Signal is one.
type Waker interface{ Wake() }

// Source is where the gate reads durability from.
type Source interface {
	// Snapshot fills v with the cursors of one instant. It never blocks and tries a bounded number
	// of times. False means that writers kept moving: v.Len is 0 then, which opens nothing, the rest
	// of v means nothing, and the caller tries again on its next step. A caller that parks instead
	// reads again after it prepared to sleep, as with any inbox, because the writer that was in
	// progress wakes it only once. One goroutine calls it.
	Snapshot(v *View) bool
	// SetWaker sets the waker to call after every change that a Snapshot would show. Set it before
	// the first Snapshot: that Snapshot contains all earlier changes.
	SetWaker(Waker)
}

// atomicWaker holds a waker that may be set while writers already write.
type atomicWaker struct {
	waker atomic.Pointer[Waker] // written by SetWaker, read by every writer after it wrote
}

func (a *atomicWaker) set(w Waker) {
	if w == nil {
		a.waker.Store(nil)
		return
	}
	a.waker.Store(&w)
}

func (a *atomicWaker) wake() {
	if w := a.waker.Load(); w != nil {
		(*w).Wake()
	}
}
