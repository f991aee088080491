package durability

import "sync/atomic"

// Bell wakes the goroutine that waits for durability. Ring is called from any goroutine after something changed; it
// must not block. A *mailbox.Signal is one.
type Bell interface{ Ring() }

// Source is where the gate reads durability from.
type Source interface {
	// Snapshot fills v with the cursors of one instant. It never blocks and tries a bounded number of times; false means
	// that writers kept moving: v is empty then, which opens nothing, and the caller tries again on its next step. A
	// caller that parks instead re-reads after it prepared to sleep, as with any inbox, since the writer that was in the
	// way rings the bell only once. One goroutine calls it.
	Snapshot(v *View) bool
	// SetBell names the bell to ring after every change that a Snapshot would show. Set it before the first Snapshot:
	// what changed earlier is in that Snapshot.
	SetBell(Bell)
}

// belfry holds the bell, which may be set while writers already write.
type belfry struct {
	bell atomic.Pointer[Bell] // written by SetBell, read by every writer after it wrote
}

func (b *belfry) set(bell Bell) {
	if bell == nil {
		b.bell.Store(nil)
		return
	}
	b.bell.Store(&bell)
}

func (b *belfry) ring() {
	if bell := b.bell.Load(); bell != nil {
		(*bell).Ring()
	}
}
