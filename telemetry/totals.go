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
	AnsweredAt Nanos  // moment of its last answer; an actor that neither polls nor parks does not answer
}

// Silent returns the time since the actor's last answer. It is meaningful only while collections go
// on: a few periods are normal, more means that the actor neither polls nor parks.
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

// HistTotal is a cumulative histogram with the buckets of Hist and 64-bit counts.
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

// Reset sets the total to empty and keeps its memory.
func (h *HistTotal) Reset() {
	clear(h.b)
	h.Count, h.Sum, h.Max = 0, 0, 0
}

// Merge adds another total, which does not change.
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

// Subtract subtracts an earlier state of the same total, which leaves the values recorded since. The
// maximum does not change: it is the maximum since the start.
func (h *HistTotal) Subtract(earlier *HistTotal) {
	for i, v := range earlier.b {
		if v != 0 {
			h.b[i] -= v
		}
	}
	h.Count -= earlier.Count
	h.Sum -= earlier.Sum
}

// Buckets calls f for every bucket that is not empty, in ascending order, with its bounds as
// BucketBounds returns them.
func (h *HistTotal) Buckets(f func(low, high, count uint64)) {
	for i, n := range h.b {
		if n != 0 {
			low, high := BucketBounds(i)
			f(low, high, n)
		}
	}
}

// Quantile returns the p-quantile as the middle of its bucket, at most 1.6 % off. p is clamped to 0..1;
// the quantile of 1 is the exact maximum. An empty histogram returns 0.
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

// Mean returns the exact mean. An empty histogram returns 0.
func (h *HistTotal) Mean() float64 {
	if h.Count == 0 {
		return 0
	}
	return float64(h.Sum) / float64(h.Count)
}
