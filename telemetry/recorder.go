package telemetry

import "sync/atomic"

// Recorder is the actor's side of the measurements. The actor writes into *B and calls Poll once per
// batch and in every loop that waits. The runner calls Park before it sleeps or ends, and Unpark after
// it slept. Only the actor's goroutine uses B, Poll, Park and Unpark; only the collector uses the rest.
//
// Each recorder has two blocks. At any time, each block is in exactly one place: with the actor (B),
// with the collector (spare), or in one of the three exchange words. The side that takes a pointer out
// of a word owns its block, so neither side waits for the other:
//
//	actor                                 | collector
//	                                      | empty.Store(spare)
//	Poll: spare := empty.Swap(nil)        |
//	      full.Store(B); B = spare        |
//	                                      | full.Swap(nil): merge, zero, new spare
//
//	Park: parked.Store(B); B = nil        |
//	                                      | parked.CAS(old, spare): merge old
//	Unpark: B = parked.Swap(nil)          | parked.CAS(old, spare): fails, nil is not old
type Recorder struct {
	// B is the actor's block. It is nil between Park and Unpark, so that recording
	// while parked panics instead of racing.
	B *Block
	_ [56]byte // keeps the collector's stores off the cache line that the actor reads for every slot

	empty  atomic.Pointer[Block] // written by the collector (a request with a zeroed block), taken by either side
	full   atomic.Pointer[Block] // written by the actor, taken by the collector
	parked atomic.Pointer[Block] // written by the actor, exchanged by the collector, taken back by the actor
	_      [40]byte

	spare *Block // collector only; nil while the block is in empty, or in full
}

func newRecorder() *Recorder {
	return &Recorder{B: new(Block), spare: new(Block)}
}

// NewRecorder returns a recorder without a collector, for tests and for use without telemetry: it
// works and costs the same.
func NewRecorder() *Recorder { return newRecorder() }

// Poll hands the block over if the collector requested it; otherwise it costs one atomic load. B may
// be another block afterwards, so do not keep a pointer into it across Poll.
func (r *Recorder) Poll() {
	if r.empty.Load() != nil {
		r.handOver()
	}
}

// handOver cannot overwrite an earlier block in full: the collector's next request uses the block that
// it took from there.
func (r *Recorder) handOver() {
	spare := r.empty.Swap(nil)
	if spare == nil {
		return
	}
	r.full.Store(r.B)
	r.B = spare
}

// Park lends the block to the collector until Unpark. An actor that ends parks and does not unpark.
func (r *Recorder) Park() {
	if r.B == nil {
		panic("telemetry: Park of a recorder that is parked")
	}
	b := r.B
	r.B = nil
	r.parked.Store(b)
}

// Unpark takes a block back: the same one, or the collector's spare.
func (r *Recorder) Unpark() {
	b := r.parked.Swap(nil)
	if b == nil {
		panic("telemetry: Unpark of a recorder that is not parked")
	}
	r.B = b
}

// request requests the block, unless an earlier request is still open. Collector only.
func (r *Recorder) request() {
	if r.spare != nil {
		r.empty.Store(r.spare)
		r.spare = nil
	}
}

// take returns a block that the collector now owns, or nil if the actor runs and has not answered yet.
// The caller returns the block with recycle. Collector only.
func (r *Recorder) take() *Block {
	if b := r.full.Swap(nil); b != nil {
		return b
	}
	old := r.parked.Load()
	if old == nil {
		return nil
	}
	// The actor is parked, or was a moment ago. Withdraw the request. If the request
	// is gone, the actor took it, and full holds the block or soon will.
	if r.spare == nil {
		if r.spare = r.empty.Swap(nil); r.spare == nil {
			return r.full.Swap(nil)
		}
	}
	if r.exchange(old) {
		return old
	}
	r.request()
	return nil
}

// exchange replaces a block that was seen parked by the spare. It reports whether that block was still
// there; if so, the collector owns it.
func (r *Recorder) exchange(old *Block) bool {
	if !r.parked.CompareAndSwap(old, r.spare) {
		return false
	}
	r.spare = nil
	return true
}

// recycle zeroes a merged block and keeps it for the next request.
func (r *Recorder) recycle(b *Block) {
	*b = Block{}
	r.spare = b
}
