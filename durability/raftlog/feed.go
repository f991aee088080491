package raftlog

import (
	"context"
	"errors"
	"sync"
)

// ErrClosed is the end of a Feed.
var ErrClosed = errors.New("raftlog: the node has ended")

// Item is one thing that the log has for the state machine.
type Item struct {
	Index, Term uint64
	Batch       Batch       // events to apply; Count is 0 for an entry without events
	Restore     *Meta       // not nil: the state is that of the newest snapshot on disk, which has this Meta
	Lead        *Leadership // not nil: everything before is applied, and this node leads; Index is 0
	Err         error       // this node has diverged and must not go on: the entry is no batch, or its log has lost entries
}

// Feed is the queue of Items. Its length is bounded by the library, which hands out Bounds.ApplyBytes that are not
// applied at most. One goroutine takes.
type Feed struct {
	mu     sync.Mutex
	items  []Item
	closed bool
	some   chan struct{} // a token: there is something, or the end
}

func newFeed() *Feed { return &Feed{some: make(chan struct{}, 1)} }

func (f *Feed) put(i Item) {
	f.mu.Lock()
	f.items = append(f.items, i)
	f.mu.Unlock()
	f.token()
}

func (f *Feed) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.token()
}

func (f *Feed) token() {
	select {
	case f.some <- struct{}{}:
	default:
	}
}

// Take returns what there is, nil if there is nothing now. The error is ErrClosed, after the last item.
func (f *Feed) Take() ([]Item, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	items := f.items
	f.items = nil
	if len(items) == 0 && f.closed {
		return nil, ErrClosed
	}
	return items, nil
}

// Wait returns when there may be something to take, or ctx has ended.
func (f *Feed) Wait(ctx context.Context) error {
	select {
	case <-f.some:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
