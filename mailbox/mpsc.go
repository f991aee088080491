package mailbox

import "sync/atomic"

// closedBit is set in queue.tail once no further position can be taken. It is far above any
// position ever reached.
const closedBit = uint64(1) << 63

// queue is the state that the two ends of an MPSC share: a ring of cells, each with a turn that
// defines its owner. The cell at position p (p, p+capacity, p+2*capacity, ... share a cell) is
//
//	turn == p             free: the sender that moves tail from p to p+1 owns it
//	turn == p+1           full: the receiver owns it
//	turn == p+capacity    received: free for position p+capacity
type queue[T any] struct {
	cells []cell[T]
	// signal wakes the receiver; written once before the goroutines start, read by the senders.
	signal *Signal
	_      [cacheLine]byte
	// tail is the next position to take, and closedBit. Written by every sender and by Close, read
	// by all.
	tail atomic.Uint64
	_    [cacheLine - 8]byte
	// head is the next position to receive. Written by the receiver, read by Len.
	head atomic.Uint64
	_    [cacheLine - 8]byte
}

type cell[T any] struct {
	// turn is written by the cell's owner to pass it on, read by senders and the receiver.
	turn  atomic.Uint64
	value T
}

// NewMPSC returns the two ends of a bounded queue from any number of goroutines to one. It is meant
// for the control path: a send costs a compare-and-swap for which all senders contend. Capacity is
// in values, a power of two of at least 2; panics otherwise.
func NewMPSC[T any](capacity int) (*Sender[T], *Receiver[T]) {
	checkCapacity("MPSC", capacity, 2)
	q := &queue[T]{cells: make([]cell[T], capacity)}
	for i := range q.cells {
		q.cells[i].turn.Store(uint64(i))
	}
	return &Sender[T]{q}, &Receiver[T]{q}
}

// Sender is the sending end of an MPSC. Any goroutine may call its methods.
type Sender[T any] struct{ queue *queue[T] }

// TrySend appends v and wakes the receiver if it sleeps. False means that v was not sent, because
// the queue was full or is closed (see Closed). Values sent by one goroutine are received in the
// order in which it sent them.
func (s *Sender[T]) TrySend(v T) bool {
	q := s.queue
	for {
		position := q.tail.Load()
		if position&closedBit != 0 {
			return false
		}
		c := &q.cells[position&uint64(len(q.cells)-1)]
		switch turn := c.turn.Load(); {
		case turn < position:
			// The cell still belongs to the previous lap, so the queue was full when tail was read.
			return false
		case turn == position && q.tail.CompareAndSwap(position, position+1):
			c.value = v
			handOver(&c.turn, position+1, q.signal)
			return true
		}
		// Another sender took the position, or Close was called in between. Retry.
	}
}

// Close ends the queue: once it has returned, no TrySend succeeds, and the receiver gets every
// value whose TrySend succeeded. The bit is in the word that every sender must swap, so a send is
// either before Close or fails. Several goroutines may close; only the first call has an effect.
func (s *Sender[T]) Close() {
	s.queue.tail.Or(closedBit)
	s.queue.signal.Wake()
}

// Closed reports whether Close was called.
func (s *Sender[T]) Closed() bool { return s.queue.tail.Load()&closedBit != 0 }

// Receiver is the receiving end of an MPSC. Its methods belong to one goroutine, except Len.
type Receiver[T any] struct{ queue *queue[T] }

// Recv removes and returns the oldest value; false means there is none now. While a sender has
// taken a position and not filled it yet, Recv returns false even if later values are there; that
// sender wakes the receiver when it is done. The queue keeps no reference to a received value.
func (r *Receiver[T]) Recv() (T, bool) {
	q := r.queue
	var zero T
	head := q.head.Load()
	c := &q.cells[head&uint64(len(q.cells)-1)]
	if c.turn.Load() != head+1 {
		return zero, false
	}
	v := c.value
	c.value = zero
	c.turn.Store(head + uint64(len(q.cells)))
	q.head.Store(head + 1)
	return v, true
}

// Done reports whether the queue is closed and every value sent was received. One load of tail
// returns both whether it is closed and how many values were sent, so no order of reads matters.
// Once true, it stays true.
func (r *Receiver[T]) Done() bool {
	return r.queue.tail.Load() == r.queue.head.Load()|closedBit
}

// Len is the number of values sent and not received, 0..capacity. It may be out of date when it
// returns. Any goroutine.
func (r *Receiver[T]) Len() int {
	head := r.queue.head.Load()
	return int(min(r.queue.tail.Load()&^closedBit-head, uint64(len(r.queue.cells))))
}

// SetSignal sets the Signal of the receiver's goroutine, woken after every send and when the queue
// is closed. Call it before the goroutines start.
func (r *Receiver[T]) SetSignal(s *Signal) { r.queue.signal = s }
