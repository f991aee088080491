package telemetry

import (
	"math"
	"time"
)

// Totals is everything one actor recorded up to the last collection.
type Totals struct {
	Actor string
	Shard int

	H     [NumStages]HistTotal
	Batch HistTotal
	C     [NumCounters]uint64
	M     [NumMarks]uint64 // highest since the start

	Stale      uint64 // collections this actor did not answer in time
	AnsweredAt Nanos  // moment of its last answer: an actor that runs and stands still does not answer
}

// Silent returns how long the actor has not answered a collection. It says
// something only if collections went on: a few periods are normal, more means
// that the actor neither polls nor parks.
func (t *Totals) Silent(now Nanos) time.Duration { return time.Duration(Since(t.AnsweredAt, now)) }

func (t *Totals) add(b *Block) {
	for i := range b.H {
		t.H[i].add(&b.H[i])
	}
	t.Batch.add(&b.Batch)
	for i, v := range b.C {
		t.C[i] += v
	}
	for i, v := range b.M {
		t.M[i] = max(t.M[i], v)
	}
}

func (t *Totals) merge(o *Totals) {
	for i := range o.H {
		t.H[i].Merge(&o.H[i])
	}
	t.Batch.Merge(&o.Batch)
	for i, v := range o.C {
		t.C[i] += v
	}
	for i, v := range o.M {
		t.M[i] = max(t.M[i], v)
	}
	t.Stale += o.Stale
}

// HistTotal is a cumulative histogram: the buckets of Hist with 64-bit counts.
type HistTotal struct {
	Count, Sum, Max uint64
	b               []uint64 // HistBuckets long, or nil while empty
}

func (h *HistTotal) add(d *Hist) {
	var n uint64
	for i, v := range d.b {
		if v == 0 {
			continue
		}
		if h.b == nil {
			h.b = make([]uint64, HistBuckets)
		}
		h.b[i] += uint64(v)
		n += uint64(v)
	}
	h.Count += n
	h.Sum += d.sum
	h.Max = max(h.Max, d.max)
}

// Reset empties the total and keeps its memory.
func (h *HistTotal) Reset() {
	clear(h.b)
	h.Count, h.Sum, h.Max = 0, 0, 0
}

// Merge adds another total, which stays as it is.
func (h *HistTotal) Merge(o *HistTotal) {
	if o.Count == 0 {
		return
	}
	if h.b == nil {
		h.b = make([]uint64, HistBuckets)
	}
	for i, v := range o.b {
		h.b[i] += v
	}
	h.Count += o.Count
	h.Sum += o.Sum
	h.Max = max(h.Max, o.Max)
}

// Subtract takes an earlier state of the same total away, which leaves what was
// recorded since; the maximum stays that of the whole time.
func (h *HistTotal) Subtract(earlier *HistTotal) {
	for i, v := range earlier.b {
		if v != 0 {
			h.b[i] -= v
		}
	}
	h.Count -= earlier.Count
	h.Sum -= earlier.Sum
}

// Buckets calls f for every bucket that is not empty, in rising order, with the
// bounds of BucketBounds.
func (h *HistTotal) Buckets(f func(low, high, count uint64)) {
	for i, n := range h.b {
		if n != 0 {
			low, high := BucketBounds(i)
			f(low, high, n)
		}
	}
}

// Quantile returns the value below or at which the fraction p of all values
// lies, as the middle of its bucket: at most 1.6 % off. p is clamped to 0..1;
// 1 gives the exact maximum. An empty histogram gives 0.
func (h *HistTotal) Quantile(p float64) uint64 {
	if h.Count == 0 {
		return 0
	}
	rank := uint64(math.Ceil(min(max(p, 0), 1) * float64(h.Count)))
	if rank >= h.Count {
		return h.Max
	}
	var seen uint64
	for i, n := range h.b {
		if seen += n; n != 0 && seen >= rank {
			low, high := BucketBounds(i)
			if i == HistBuckets-1 {
				high = h.Max + 1
			}
			return min(low+(high-1-low)/2, h.Max)
		}
	}
	return h.Max
}

// Mean returns the exact mean, 0 if empty.
func (h *HistTotal) Mean() float64 {
	if h.Count == 0 {
		return 0
	}
	return float64(h.Sum) / float64(h.Count)
}
