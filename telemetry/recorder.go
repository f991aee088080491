package telemetry

import "sync/atomic"

// Recorder is one actor's end of the measurements. The actor writes into *B
// and calls Poll once a batch and in every loop that waits; the runner calls
// Park before it sleeps or ends and Unpark after. All four belong to the
// actor's goroutine; the rest belongs to the collector.
//
// There are two blocks for each recorder. Each of them is, at any time, in
// exactly one place: with the actor (B), with the collector (spare), or in one
// of the three exchange words. Taking a pointer out of a word takes the
// ownership of its block. So neither side waits for the other:
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
	// B is the actor's block; nil between Park and Unpark, so that a record made
	// while parked crashes instead of racing.
	B *Block
	_ [56]byte // keeps the collector's stores off the line the actor reads for every slot

	empty  atomic.Pointer[Block] // written by collector (request with a zeroed block), taken back by either
	full   atomic.Pointer[Block] // written by actor, taken by collector
	parked atomic.Pointer[Block] // written by actor, exchanged by collector, taken back by actor
	_      [40]byte

	spare *Block // collector only; nil while the spare lies in empty, or came back in full
}

func newRecorder() *Recorder {
	return &Recorder{B: new(Block), spare: new(Block)}
}

// NewRecorder returns a recorder that nobody collects, for tests and for use
// without telemetry: everything works and costs the same.
func NewRecorder() *Recorder { return newRecorder() }

// Poll hands the block over if the collector asked for it: one atomic load when
// it did not. B may be another block afterwards, so hold no pointer into it
// across Poll.
func (r *Recorder) Poll() {
	if r.empty.Load() != nil {
		r.handOver()
	}
}

// handOver cannot overwrite an earlier block in full: the collector asks again
// only with the block it found there.
func (r *Recorder) handOver() {
	spare := r.empty.Swap(nil)
	if spare == nil {
		return
	}
	r.full.Store(r.B)
	r.B = spare
}

// Park lends the block to the collector until Unpark. An actor that ends parks
// for good.
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

// request asks for the block, unless an earlier request is still open.
// Collector only.
func (r *Recorder) request() {
	if r.spare != nil {
		r.empty.Store(r.spare)
		r.spare = nil
	}
}

// take returns a block that the collector now owns, or nil if the actor runs
// and has not answered yet. The caller gives it back with recycle.
// Collector only.
func (r *Recorder) take() *Block {
	if b := r.full.Swap(nil); b != nil {
		return b
	}
	old := r.parked.Load()
	if old == nil {
		return nil
	}
	// The actor sleeps, or did a moment ago. Withdraw the request; when it is
	// gone the actor took it, and full holds the block or soon will.
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

// exchange puts the spare in the place of a block seen parked, and reports
// whether that block was still there: then the collector owns it.
func (r *Recorder) exchange(old *Block) bool {
	if !r.parked.CompareAndSwap(old, r.spare) {
		return false
	}
	r.spare = nil
	return true
}

// recycle gives a merged block back, to be zeroed and used for the next request.
func (r *Recorder) recycle(b *Block) {
	*b = Block{}
	r.spare = b
}
