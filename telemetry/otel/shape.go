package otel

import (
	"math"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"sluice/telemetry"
)

const nanosPerSecond = 1e9 // nanoseconds in a second

// Classic bounds are also bounds of the fine buckets, so that no count is estimated: 2^e and 1.5*2^e ns
// from about 1 us to 1.6 s. A bucket counts the values below its bound, while the exported meaning is
// "at most the bound". The two differ only for a value of exactly the bound, by less than the
// resolution of the clock.
const (
	firstOctave = 10
	lastOctave  = 30
)

// timeBounds returns the classic bounds of durations in ns: the first value above each bucket.
func timeBounds() []uint64 {
	var b []uint64
	for e := firstOctave; e <= lastOctave; e++ {
		b = append(b, 1<<e, 3<<(e-1))
	}
	return b
}

// countBounds returns the classic bounds of counts: the first value above each bucket. Exported, the
// buckets are "at most 1, 3, 7 ... 8191", because counts of at most 2^e - 1 are exact and those of at
// most 2^e are not.
func countBounds() []uint64 {
	var b []uint64
	for e := 1; e <= 13; e++ {
		b = append(b, 1<<e)
	}
	return b
}

// measure is the unit and the classic bounds of a histogram's values.
type measure struct {
	bounds   []uint64  // classic bounds: the first value above each bucket
	exported []float64 // the same bounds as exported: seconds, or the highest count in the bucket
	scale    float64   // recorded values per exported unit
}

func durationMeasure() measure {
	m := measure{bounds: timeBounds(), scale: nanosPerSecond}
	for _, b := range m.bounds {
		m.exported = append(m.exported, float64(b)/nanosPerSecond)
	}
	return m
}

func countMeasure() measure {
	m := measure{bounds: countBounds(), scale: 1}
	for _, b := range m.bounds {
		m.exported = append(m.exported, float64(b-1))
	}
	return m
}

// shape is the form of the histograms of a reader.
type shape struct {
	exponential bool
	scale       int32
	maxSize     int // buckets of a data point; 0 = no limit
}

// shapeOf returns the shape for the aggregation of an exporter. The exporter's explicit bounds are not
// used: counts at those would be estimates, at our bounds they are exact.
func shapeOf(a metric.Aggregation, scale int32) shape {
	if e, ok := a.(metric.AggregationBase2ExponentialHistogram); ok {
		return shape{exponential: true, scale: min(scale, e.MaxScale), maxSize: int(e.MaxSize)}
	}
	return shape{}
}

// classic counts a histogram into len(bounds)+1 buckets.
func classic(h *telemetry.HistTotal, bounds []uint64) []uint64 {
	counts := make([]uint64, len(bounds)+1)
	i := 0
	h.Buckets(func(_, high, n uint64) {
		for i < len(bounds) && high > bounds[i] {
			i++
		}
		counts[i] += n
	})
	return counts
}

// exponential counts a histogram into buckets of base 2^(2^-scale). A fine bucket counts as a whole in
// the bucket that contains its middle: no count is lost, and at scale 3 a quantile is at most 1.5 %
// off.
func exponential(h *telemetry.HistTotal, unit float64,
	s shape) (b metricdata.ExponentialBucket, zeros uint64, scale int32) {
	scale = s.scale
	at := make(map[int32]uint64)
	lowest, highest := int32(math.MaxInt32), int32(math.MinInt32)
	h.Buckets(func(low, high, n uint64) {
		if high == 1 { // the bucket of 0
			zeros = n
			return
		}
		middle := (float64(low) + float64(high-1)) / 2 / unit
		i := int32(math.Ceil(math.Log2(middle)*math.Exp2(float64(scale)))) - 1
		at[i] += n
		lowest, highest = min(lowest, i), max(highest, i)
	})
	if len(at) == 0 {
		return b, zeros, scale
	}
	shift := 0
	for s.maxSize > 0 && int(highest>>shift)-int(lowest>>shift) >= s.maxSize {
		shift++
	}
	b.Offset = lowest >> shift
	b.Counts = make([]uint64, highest>>shift-b.Offset+1)
	for i, n := range at {
		b.Counts[i>>shift-b.Offset] += n
	}
	return b, zeros, scale - int32(shift)
}
