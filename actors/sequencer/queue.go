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

// ErrClosed is returned by Queue.Put once the queue is closed: the request was not taken.
var ErrClosed = errors.New("sequencer: no more requests are taken")

// A record of the queue: the time its request was received (monotonic ns, 8 B), the size of its
// trace context (1 B), that context, the event.
const stampSize = 9

// Queue carries requests from the readers of connections to the sequencer. It is a ring of bytes
// with one writing end, which a mutex hands from reader to reader: there are few readers, a put is
// some tens of ns, and one ring keeps one order (docs/decisions/0011-sequencer.md). A reader that
// finds the ring full keeps the mutex and sleeps, and the other readers queue up behind it: that is
// the backpressure.
type Queue struct {
	mu      sync.Mutex // held by the reader that owns the writing end
	ring    *mailbox.BytesWriter
	closed  bool
	token   token // ends the sleep of the owner
	signal  *mailbox.Signal
	closing chan struct{} // closed by Refuse, before it waits for the mutex
	once    sync.Once
	puts    atomic.Uint64 // requests put; written by the owner of the writing end
	notes   notes
}

// NewQueue makes a queue of capacity bytes, a power of two of at least 64, and its reading end for
// the sequencer.
func NewQueue(capacity int) (*Queue, *Requests) {
	w, r := mailbox.NewBytes(capacity)
	q := &Queue{ring: w, token: newToken(), closing: make(chan struct{})}
	q.signal = mailbox.NewSignal(q.token)
	w.SetSignal(q.signal)
	return q, &Requests{ring: r, notes: &q.notes}
}

// MaxBody is the size in bytes of the largest body that fits.
func (q *Queue) MaxBody() int {
	return q.ring.MaxRecord() - stampSize - telemetry.ParentBytes - EventHeader
}

// Len is the number of bytes waiting for the sequencer. Any goroutine.
func (q *Queue) Len() int { return q.ring.Len() }

// Put copies a request into the queue: its Conn, Request, Identity, Tag and Body, the trace context
// that came with it (telemetry.Parent, packed; empty for none), which is not journaled, and the time
// it was received. While the queue is full it waits. Requests of one goroutine are sequenced in the
// order it put them. Any goroutine. The error is ErrClosed, or says that the body is too large or
// the trace context has a wrong size.
func (q *Queue) Put(req *Event, trace []byte, received int64) error {
	at := stampSize + len(trace)
	n := at + EventHeader + len(req.Body)
	if len(req.Body) > q.MaxBody() {
		return fmt.Errorf("sequencer: request with a body of %d bytes; this queue takes at most %d",
			len(req.Body), q.MaxBody())
	}
	if len(trace) != 0 && len(trace) != telemetry.ParentBytes {
		return fmt.Errorf("sequencer: request with a trace context of %d bytes; use %d, or none",
			len(trace), telemetry.ParentBytes)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	record, err := q.claim(n)
	if err != nil {
		return err
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
	return nil
}

// claim waits for room, or for Refuse.
func (q *Queue) claim(n int) ([]byte, error) {
	for !q.closed {
		if room := q.ring.Claim(n); room != nil {
			return room, nil
		}
		q.signal.Prepare()
		if room := q.ring.Claim(n); room != nil {
			q.signal.Cancel()
			return room, nil
		}
		select {
		case <-q.token:
			q.signal.Cancel()
		case <-q.closing:
			q.signal.Cancel()
			return nil, ErrClosed
		}
	}
	return nil, ErrClosed
}

// Refuse takes no more requests and no more connections: a Put that waits returns ErrClosed, and so
// does every later one. What is in the queue is still sequenced, and ends of connections are still
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
