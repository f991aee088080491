package sequencer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"sluice/mailbox"
	"sluice/telemetry"
)

// ErrClosed is returned by Queue.Put and Queue.TryPut once the queue is closed: the request was not taken.
var ErrClosed = errors.New("sequencer: no more requests are taken")

// A record of the queue: the time its request was received (monotonic ns, 8 B), the size of its
// trace context (1 B), that context, the event.
const stampSize = 9

// Queue carries requests from the readers of connections to the sequencer. It is a ring of bytes
// with one writing end, which a mutex hands from reader to reader: there are few readers, a put is
// some tens of ns, and one ring keeps one order (docs/decisions/0011-sequencer.md).
//
// A queue without room for a request is full until half of it is free again, for every reader. So
// the readers are woken once for half a queue, and one that is late does not find it full again. A part of
// it is kept for requests of operators, which are taken while clients fill the rest.
type Queue struct {
	mu      sync.Mutex // held by the reader that owns the writing end; nothing waits with it
	ring    *mailbox.BytesWriter
	closed  bool
	full    atomic.Int64    // when it became full, in ns of the clock of received; 0 while there is room
	signal  *mailbox.Signal // prepared while the queue is full
	room    func()          // of OnRoom
	turn    sync.Mutex      // held by the one Put that waits
	token   token           // ends its wait
	closing chan struct{}   // closed by Refuse
	once    sync.Once
	puts    atomic.Uint64 // requests put; written by the owner of the writing end
	notes   notes
}

// NewQueue makes a queue of capacity bytes, a power of two of at least 64, and its reading end for
// the sequencer.
func NewQueue(capacity int) (*Queue, *Requests) {
	w, r := mailbox.NewBytes(capacity)
	q := &Queue{ring: w, room: func() {}, token: newToken(), closing: make(chan struct{})}
	q.signal = mailbox.NewSignal((*roomWaker)(q))
	w.SetSignal(q.signal)
	return q, &Requests{ring: r, notes: &q.notes}
}

// MaxBody is the size in bytes of the largest body that fits.
func (q *Queue) MaxBody() int {
	return q.ring.MaxRecord() - stampSize - telemetry.ParentBytes - EventHeader
}

// Len is the number of bytes waiting for the sequencer. Any goroutine.
func (q *Queue) Len() int { return q.ring.Len() }

// Full is when the queue became full, on the clock that the readers use for received; 0 if it has
// room. Any goroutine.
func (q *Queue) Full() int64 { return q.full.Load() }

// OnRoom sets a function that is called when a queue that was full has room again, on the
// sequencer's goroutine. It must not wait. Call it before the first put.
func (q *Queue) OnRoom(room func()) { q.room = room }

// Put is TryPut, and waits while the queue is full. The error is also ErrClosed if it is closed
// meanwhile.
func (q *Queue) Put(req *Event, trace []byte, received int64) error {
	if ok, err := q.TryPut(req, trace, received); ok || err != nil {
		return err
	}
	q.turn.Lock()
	defer q.turn.Unlock()
	for {
		if ok, err := q.TryPut(req, trace, received); ok || err != nil {
			return err
		}
		select {
		case <-q.token:
		case <-q.closing:
			return ErrClosed
		}
	}
}

// TryPut copies a request into the queue: its Conn, Request, Identity, Tag and Body, the trace
// context that came with it (telemetry.Parent, packed; empty for none), which is not journaled, and
// the time it was received, in monotonic ns. It returns false if the queue is full; the function of
// OnRoom is called later. It never waits. Requests of one goroutine are sequenced in the order it put
// them. Any goroutine. The error is ErrClosed, or says that the body is too large or the trace context
// has a wrong size.
func (q *Queue) TryPut(req *Event, trace []byte, received int64) (bool, error) {
	at := stampSize + len(trace)
	n := at + EventHeader + len(req.Body)
	if len(req.Body) > q.MaxBody() {
		return false, fmt.Errorf("sequencer: request with a body of %d bytes; this queue takes at most %d",
			len(req.Body), q.MaxBody())
	}
	if len(trace) != 0 && len(trace) != telemetry.ParentBytes {
		return false, fmt.Errorf("sequencer: request with a trace context of %d bytes; use %d, or none",
			len(trace), telemetry.ParentBytes)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false, ErrClosed
	}
	record := q.claim(n, received, req.Identity.Role == RoleOperator)
	if record == nil {
		return false, nil
	}
	binary.LittleEndian.PutUint64(record, uint64(received))
	record[stampSize-1] = uint8(len(trace))
	copy(record[stampSize:], trace)
	AppendEvent(record[:at], req)
	record[at+kindAt] = byte(KindRequest)
	binary.LittleEndian.PutUint64(record[at+timeAt:], 0)
	q.ring.Commit(n)
	q.ring.Publish()
	q.puts.Add(1)
	return true, nil
}

// operatorsPart is the part of the queue, one in that many, that is kept for requests of operators.
const operatorsPart = 16

// claim returns room for a record, or nil and makes the queue full. A queue that is full for others has room for
// operators.
func (q *Queue) claim(n int, now int64, operator bool) []byte {
	kept := q.ring.Cap() / operatorsPart
	if operator {
		kept = 0
	}
	if q.full.Load() != 0 {
		if operator {
			return q.ring.Claim(n)
		}
		return nil
	}
	if room := q.within(n, kept); room != nil {
		return room
	}
	q.full.Store(max(now, 1))
	q.signal.Prepare()
	room := q.within(n, kept) // the sequencer may have released something before Prepare
	if room != nil {
		q.signal.Cancel() // no other reader has found it full
		q.full.Store(0)
	}
	return room
}

// within returns room for a record that leaves some bytes free; nil if there is none.
func (q *Queue) within(n, kept int) []byte {
	if q.ring.Len()+n+kept > q.ring.Cap() {
		return nil
	}
	return q.ring.Claim(n)
}

// roomWaker is called when the sequencer has released requests of a full queue.
type roomWaker Queue

// Wake implements mailbox.Waker, on the sequencer's goroutine. A queue that is more than half full
// stays full: what is left in it is released later, and wakes again.
func (w *roomWaker) Wake() {
	if w.ring.Len() > w.ring.Cap()/2 {
		w.signal.Prepare()
		return
	}
	w.full.Store(0)
	w.token.Wake()
	w.room()
}

// Refuse takes no more requests and no more connections: a Put that waits returns ErrClosed, and so
// does every later Put and TryPut. What is in the queue is still sequenced, and ends of connections are still
// taken. Any goroutine, any number of times.
func (q *Queue) Refuse() {
	q.once.Do(func() {
		close(q.closing)
		q.mu.Lock()
		defer q.mu.Unlock()
		q.closed = true
		q.ring.Close()
		q.notes.refuse(false)
	})
}

// Close takes nothing more. The sequencer ends once it has carried out what is in the queue. Any
// goroutine, any number of times.
func (q *Queue) Close() {
	q.Refuse()
	q.notes.refuse(true)
}

// token is a waker: a channel of capacity one. A wake-up that comes early is kept.
type token chan struct{}

func newToken() token { return make(token, 1) }

// Wake implements mailbox.Waker.
func (t token) Wake() {
	select {
	case t <- struct{}{}:
	default:
	}
}
