package mailbox

import (
	"context"
	"errors"
	"fmt"
)

// ErrReaderEnded is returned by ClaimWait when a reader of the chain has ended: slots published from
// then on would never be read.
var ErrReaderEnded = errors.New("mailbox: a reader of this ring has ended")

// token is a Waker for a goroutine that sleeps on a channel of capacity one.
type token chan struct{}

// Wake implements Waker.
func (t token) Wake() {
	select {
	case t <- struct{}{}:
	default: // one token is there already
	}
}

// ClaimWait is Claim for a goroutine that has nothing else to do: if the ring is full, it publishes
// what is committed and sleeps until there is room. It returns the cause of ctx when ctx ends first,
// and ErrReaderEnded once a reader has ended, including when there is room. Panics if max < 1, and
// after SetSignal or SetRoom, because the wake-up then goes to that Signal's owner.
//
// With room it costs one atomic load more than Claim. Without, the goroutine sleeps on a channel and
// is woken when the last reader releases a batch, which costs each side about a microsecond. An
// actor, whose Step must not wait, uses Claim and SetSignal.
func (w *Writer[T]) ClaimWait(ctx context.Context, max int) ([]T, error) {
	if max < 1 {
		panic(fmt.Sprintf("mailbox: ClaimWait of %d slots; wait for at least 1", max))
	}
	if w.signalled {
		panic("mailbox: ClaimWait after SetSignal; use Claim, and sleep on that Signal")
	}
	if w.chain.ended.Load() {
		return nil, ErrReaderEnded
	}
	if slots := w.Claim(max); slots != nil {
		return slots, nil
	}
	return w.wait(ctx, max)
}

// wait is ClaimWait in a full ring. It sleeps as described at Signal.
func (w *Writer[T]) wait(ctx context.Context, max int) ([]T, error) {
	signal := w.upstream.signal
	w.Publish() // slots that are only committed never become free
	for {
		slots, ended := w.lookAgain(max)
		if ended {
			signal.Cancel()
			return nil, ErrReaderEnded
		}
		if slots != nil {
			signal.Cancel()
			return slots, nil
		}
		select {
		case <-w.chain.room:
		case <-ctx.Done():
			signal.Cancel()
			return nil, fmt.Errorf("mailbox: waiting for room in a ring of %d slots: %w", w.Cap(),
				context.Cause(ctx))
		}
	}
}

// lookAgain announces that the writer is about to sleep, and only then looks for room once more.
func (w *Writer[T]) lookAgain(max int) (slots []T, ended bool) {
	w.upstream.signal.Prepare()
	return w.Claim(max), w.chain.ended.Load()
}

// End declares that this reader reads no more, and wakes a writer that waits for room. What is in
// the ring stays there. It may be called more than once.
func (r *Reader[T]) End() {
	r.chain.ended.Store(true)
	r.chain.cursors[len(r.chain.cursors)-1].signal.Wake()
}
