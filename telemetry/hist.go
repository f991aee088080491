package telemetry

import "math/bits"

const (
	subBits    = 5            // 2^5 = 32 buckets in each power of two
	subBuckets = 1 << subBits // 32
	octaves    = 32           // powers of two above the exact range
	histMaxLog = octaves + subBits + 1

	// HistBuckets is the number of buckets of a histogram: one for each value below
	// 64, then 32 for every power of two up to HistLimit.
	HistBuckets = (octaves + 2) * subBuckets

	// HistLimit is the first value beyond the buckets, 2^38 ns or about 275 s. This
	// value and all above it count in the last bucket; sum and maximum stay exact.
	HistLimit = 1 << histMaxLog
)

// Hist is a histogram of uint64 values (nanoseconds, or counts) that one goroutine writes with plain
// stores: 4368 bytes, no pointers. The relative width of a bucket is at most 1/32. Bucket counts are
// 32 bits wide, so a block must be collected before one bucket has counted 4.29e9 values. The zero
// Hist is empty.
type Hist struct {
	sum, max uint64
	b        [HistBuckets]uint32
}

// Record adds one value. Only the owner of the block may call it.
func (h *Hist) Record(v uint64) {
	h.b[bucketOf(v)]++
	h.sum += v
	h.max = max(h.max, v)
}

// RecordN adds the same value n times, for an interval that all slots of a batch share. Only the owner
// of the block may call it. If n is 0, it adds nothing.
func (h *Hist) RecordN(v uint64, n uint32) {
	if n != 0 {
		h.b[bucketOf(v)] += n
		h.sum += v * uint64(n)
		h.max = max(h.max, v)
	}
}

// Run gathers equal consecutive values and records them with one RecordN. The times of slots that
// passed in one batch are such values. Only the owner of the block uses it, and flushes it before it
// polls or parks. The zero Run is empty.
type Run struct {
	v uint64
	n uint32
}

// Add gathers v. The next Add of another value records it in h, or Flush does.
func (r *Run) Add(h *Hist, v uint64) {
	if v != r.v {
		r.next(h, v)
	}
	r.n++
}

// AddN gathers v n times.
func (r *Run) AddN(h *Hist, v uint64, n uint32) {
	if v != r.v {
		r.next(h, v)
	}
	r.n += n
}

// next is separate from Add so that the compiler inlines Add.
func (r *Run) next(h *Hist, v uint64) {
	h.RecordN(r.v, r.n)
	r.v, r.n = v, 0
}

// Flush records the gathered values in h.
func (r *Run) Flush(h *Hist) {
	h.RecordN(r.v, r.n)
	r.n = 0
}

// bucketOf returns the bucket of v without a branch. Below 64 the bucket is the value itself; above,
// it is made of the power of two and the five bits after the leading one.
func bucketOf(v uint64) uint {
	e := uint(bits.Len64(v|subBuckets)) - subBits - 1
	return min(e<<subBits+uint(v>>(e&63)), HistBuckets-1)
}

// BucketBounds returns the bounds of bucket i as a half-open interval [low, high). The last bucket
// also holds all values from HistLimit up.
func BucketBounds(i int) (low, high uint64) {
	if i < 2*subBuckets {
		return uint64(i), uint64(i) + 1
	}
	e := uint(i)>>subBits - 1
	m := uint64(i) - uint64(e)<<subBits
	return m << e, (m + 1) << e
}
