package peer

import "sync"

// queue holds the frames that wait for the writer of a link, encoded except for their checksums.
// Any goroutine puts; the writer takes.
type queue struct {
	most   int  // bytes of a payload
	bytes  int  // that may wait, with headers; 0: no limit
	frames int  // that may wait; 0: no limit
	oldest bool // a full queue drops its oldest frame, not the new one

	wake chan struct{} // holds a token when frames may wait

	mu      sync.Mutex // guards all below
	open    bool       // frames are accepted
	waiting []byte     // from head on
	head    int
	count   int // frames in waiting
	dropped uint64
}

// put copies a frame into the queue and reports whether it did.
func (q *queue) put(frame []byte) bool {
	q.mu.Lock()
	size := headerSize + len(frame)
	if !q.open || len(frame) > q.most || !q.makeRoom(size) {
		q.dropped++
		q.mu.Unlock()
		return false
	}
	if len(q.waiting)+size > cap(q.waiting) && q.head >= len(q.waiting)/2 {
		q.waiting = q.waiting[:copy(q.waiting, q.waiting[q.head:])]
		q.head = 0
	}
	q.waiting = appendFrame(q.waiting, kindData, frame)
	q.count++
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// makeRoom reports whether a frame of that size fits. A frame larger than the queue is accepted if
// it is alone, because it could never be sent otherwise.
func (q *queue) makeRoom(size int) bool {
	full := func() bool {
		return q.count > 0 && (q.frames > 0 && q.count >= q.frames ||
			q.bytes > 0 && len(q.waiting)-q.head+size > q.bytes)
	}
	for q.oldest && full() {
		q.head += frameSize(q.waiting[q.head:])
		q.count--
		q.dropped++
	}
	return !full()
}

// take returns all waiting frames, and empties the queue. It takes over a buffer that was returned
// earlier.
func (q *queue) take(empty []byte) (buffer, batch []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	buffer, batch = q.waiting, q.waiting[q.head:]
	q.waiting, q.head, q.count = empty[:0], 0, 0
	return buffer, batch
}

// release gives up the buffer of an empty queue.
func (q *queue) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count == 0 {
		q.waiting, q.head = nil, 0
	}
}

// accept opens or closes the queue. Closing drops what waits, and returns how many frames that were.
func (q *queue) accept(open bool) (dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open = open
	if !open {
		dropped = q.count
		q.dropped += uint64(q.count)
		q.waiting, q.head, q.count = nil, 0, 0
	}
	return dropped
}

// drop counts frames that were taken and not sent.
func (q *queue) drop(n int) {
	q.mu.Lock()
	q.dropped += uint64(n)
	q.mu.Unlock()
}

// state returns the bytes that wait and the frames that were dropped.
func (q *queue) state() (waiting int, dropped uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) - q.head, q.dropped
}
