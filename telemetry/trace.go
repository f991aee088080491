package telemetry

import (
	"math"
	"sync/atomic"
	"time"
)

// Point is a moment on the path of a slot that a trace records.
type Point uint8

// Points in the order in which a slot passes them.
const (
	PointMatched   Point = iota // the application produced it
	PointSeen                   // first seen by the gate
	PointJournal                // reached by the journal's cursor, unless it was already
	PointReplica                // reached by the replicas' cursors, unless it was already
	PointReleased               // released by the gate
	PointEncoded                // its frame is complete
	PointAppended               // appended to its connection's buffer
	PointFlushed                // handed to the kernel
	PointCompleted              // the kernel accepted its last byte

	NumPoints = int(PointCompleted) + 1
)

// TraceRec is a sampled slot: 96 bytes without pointers, so that a box copies it and the garbage
// collector does not scan it. First its moments, then what identifies it and its request, then its
// circumstances.
type TraceRec struct {
	Received   Nanos             // moment of receipt
	AfterNanos [NumPoints]uint32 // by Point: ns after Received, 1 to 4.29e9; 0 = not passed
	Bytes      uint32            // encoded size
	Seq        uint64            // wire seq
	Conn       uint64            // connection id
	TraceID    [16]byte          // trace id of the parent, or zero
	Parent     [8]byte           // span id of the parent, or zero
	Batch      uint16            // sends in its submit
	Shard      uint16
	Kind       uint8       // slot kind
	Policy     uint8       // the application's number of the policy in force
	Reason     TraceReason // why it was sampled
	Flags      TraceFlags
}

// TraceFlags are properties of a sampled slot.
type TraceFlags uint8

// Flags of TraceRec.
const (
	TraceParentSampled    TraceFlags = 1 << iota // the parent was sampled, so its trace is continued
	TraceDegraded                                // the policy was degraded
	TraceBlockedByJournal                        // the journal's cursor was the last to reach it
	TraceBlockedByReplica                        // a replica's cursor was the last to reach it
	TraceFailed                                  // it was dropped
	// a frame for the subscribers of a topic, whose number is in Conn; Batch is the number of sends
	TraceTopic
)

// Stamp records that the slot passed p at now.
func (t *TraceRec) Stamp(p Point, now Nanos) {
	t.AfterNanos[p] = uint32(min(max(Since(t.Received, now), 1), math.MaxUint32))
}

// At returns the moment of p, and whether the slot passed p.
func (t *TraceRec) At(p Point) (at Nanos, passed bool) {
	return t.Received + Nanos(t.AfterNanos[p]), t.AfterNanos[p] != 0
}

// TraceBox is a bounded queue of sampled slots from one goroutine to one other. If it is full, TryPut
// returns at once: tracing must not slow down the pipeline.
type TraceBox struct {
	buf []TraceRec

	_    [64]byte
	tail atomic.Uint64 // written by the producer, read by the consumer: records put
	seen uint64        // producer only: head as last read
	full atomic.Uint64 // written by the producer, read by anyone: records refused

	_    [64]byte
	head atomic.Uint64 // written by the consumer, read by the producer: records got
}

// NewTraceBox returns a box for size records. The size must be a power of two.
func NewTraceBox(size int) *TraceBox {
	if size < 1 || size&(size-1) != 0 {
		panic("telemetry: size of a trace box must be a power of two, such as 1024")
	}
	return &TraceBox{buf: make([]TraceRec, size)}
}

// TryPut copies the record into the box. If the box is full, it counts the record and returns false.
// Producer only.
func (q *TraceBox) TryPut(r *TraceRec) bool {
	t := q.tail.Load()
	if t-q.seen == uint64(len(q.buf)) {
		q.seen = q.head.Load()
		if t-q.seen == uint64(len(q.buf)) {
			q.full.Store(q.full.Load() + 1)
			return false
		}
	}
	q.buf[t&uint64(len(q.buf)-1)] = *r
	q.tail.Store(t + 1)
	return true
}

// TryGet moves the oldest record into r. If the box is empty, it returns false. Consumer only.
func (q *TraceBox) TryGet(r *TraceRec) bool {
	h := q.head.Load()
	if h == q.tail.Load() {
		return false
	}
	*r = q.buf[h&uint64(len(q.buf)-1)]
	q.head.Store(h + 1)
	return true
}

// Refused returns the number of records that were rejected because the box was full. Any goroutine
// may call it.
func (q *TraceBox) Refused() uint64 { return q.full.Load() }

// TraceReason is why a slot is traced.
type TraceReason uint8

// Reasons for tracing.
const (
	TraceReasonNone   TraceReason = iota
	TraceReasonParent             // the request came with a sampled parent
	TraceReasonRatio              // picked by its wire seq, the same on every node
	TraceReasonDebug              // an operator asked for this connection
	TraceReasonSlow               // the slowest of its submit, and slower than the threshold
)

// Name returns the label of the reason.
func (r TraceReason) Name() string { return [...]string{"none", "parent", "ratio", "debug", "slow"}[r] }

// Rules decide which slots are traced. Do not change them after Sampler.Set. The zero Rules trace only
// slots with a sampled parent.
type Rules struct {
	SampleBelow uint64        // trace slots whose mixed seq is below this: the ratio times 2^64
	SlowNanos   uint64        // trace the slowest slot of a submit if it took longer; 0 = never
	DebugConn   uint64        // connection that an operator traces; 0 = none
	DebugLeft   *atomic.Int64 // number of its slots still to trace; decremented by the gate
	Exported    bool          // an exporter makes traces of the sampled slots
}

// Following returns the connection that is traced for an operator and the number of its slots still to
// trace. If there is none, it returns 0, 0.
func (r *Rules) Following() (conn uint64, left int64) {
	if r.DebugConn == 0 || r.DebugLeft == nil || r.DebugLeft.Load() <= 0 {
		return 0, 0
	}
	return r.DebugConn, r.DebugLeft.Load()
}

// NewRules returns rules for a ratio of 0..1 of all slots and a threshold for slow slots (0 for none).
func NewRules(ratio float64, slow time.Duration) Rules {
	r := Rules{SlowNanos: uint64(max(slow, 0))}
	switch {
	case ratio >= 1:
		r.SampleBelow = math.MaxUint64
	case ratio > 0:
		r.SampleBelow = uint64(math.Ldexp(ratio, 64))
	}
	return r
}

// Picks reports whether Head may choose a slot for another reason than its parent. It is small enough
// to be inlined into the loop over all slots.
func (r *Rules) Picks(seq, conn uint64) bool { return mix(seq) < r.SampleBelow || conn == r.DebugConn }

// Head decides at the gate whether a slot is traced.
func (r *Rules) Head(seq, conn uint64, parentSampled bool) (TraceReason, bool) {
	switch {
	case parentSampled:
		return TraceReasonParent, true
	case r.SampleBelow != 0 && mix(seq) < r.SampleBelow:
		return TraceReasonRatio, true
	case conn != 0 && conn == r.DebugConn && r.DebugLeft != nil && r.DebugLeft.Add(-1) >= 0:
		return TraceReasonDebug, true
	}
	return TraceReasonNone, false
}

// Slow reports whether a slot that took wholeNanos is traced. Call it for the slowest slot of a submit
// only, which bounds the number of traces.
func (r *Rules) Slow(wholeNanos uint64) bool { return r.SlowNanos != 0 && wholeNanos > r.SlowNanos }

// mix spreads consecutive numbers over all 64 bits (the finalizer of splitmix64), so that every node
// picks the same, evenly spread slots.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Sampler holds the rules in force. They can be replaced while actors run.
type Sampler struct {
	p atomic.Pointer[Rules] // written by any goroutine, read by gate and shards once per batch
}

// NewSampler returns a sampler with the given rules.
func NewSampler(r Rules) *Sampler {
	s := new(Sampler)
	s.Set(r)
	return s
}

// Set replaces the rules.
func (s *Sampler) Set(r Rules) { s.p.Store(&r) }

// Follow traces the next n slots of a connection in addition to what the rules choose. It replaces the
// connection of an earlier call; n = 0 follows none. Any goroutine may call it.
func (s *Sampler) Follow(conn uint64, n int64) {
	left := new(atomic.Int64)
	left.Store(n)
	for {
		old := s.p.Load()
		r := *old
		r.DebugConn, r.DebugLeft = conn, left
		if s.p.CompareAndSwap(old, &r) {
			return
		}
	}
}

// Load returns the rules in force, never nil. Actors call it once per batch.
func (s *Sampler) Load() *Rules { return s.p.Load() }
