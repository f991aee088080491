package telemetry

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// total adds a histogram to an empty total, as a collection does.
func total(h *Hist) *HistTotal {
	t := new(HistTotal)
	t.add(h)
	return t
}

func TestBucketOfContainsItsValue(t *testing.T) {
	check := func(v uint64) {
		t.Helper()
		i := int(bucketOf(v))
		low, high := BucketBounds(i)
		if v < low || v >= high && i != HistBuckets-1 {
			t.Fatalf("value %d went to bucket %d = [%d, %d)", v, i, low, high)
		}
		if low >= 64 && float64(high-low) > float64(low)/32 {
			t.Fatalf("bucket %d = [%d, %d) is wider than 1/32", i, low, high)
		}
	}
	for v := range uint64(5000) {
		check(v)
	}
	for e := 6; e < 64; e++ {
		for _, d := range []int64{-1, 0, 1} {
			check(uint64(int64(1)<<e + d))
		}
	}
	check(math.MaxUint64)
}

func TestBucketsAreContiguous(t *testing.T) {
	var want uint64
	for i := range HistBuckets {
		low, high := BucketBounds(i)
		if low != want || high <= low {
			t.Fatalf("bucket %d = [%d, %d), want it to begin at %d", i, low, high, want)
		}
		want = high
	}
	if want != HistLimit {
		t.Fatalf("buckets end at %d, HistLimit is %d", want, uint64(HistLimit))
	}
}

func TestQuantilesAreWithin2PercentOfExact(t *testing.T) {
	tables := []struct {
		name string
		draw func(r *rand.Rand) uint64
	}{
		{"lognormal around 20 us",
			func(r *rand.Rand) uint64 { return uint64(20e3 * math.Exp(r.NormFloat64())) }},
		{"uniform up to 1 ms", func(r *rand.Rand) uint64 { return r.Uint64N(1e6) }},
		{"exponential with a long tail",
			func(r *rand.Rand) uint64 { return uint64(1e6 * r.ExpFloat64() * r.ExpFloat64()) }},
		{"small whole numbers", func(r *rand.Rand) uint64 { return r.Uint64N(50) }},
		{"all the same", func(*rand.Rand) uint64 { return 12345 }},
	}
	for _, tt := range tables {
		t.Run(tt.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			var h Hist
			exact := make([]uint64, 100_000)
			var sum uint64
			for i := range exact {
				exact[i] = tt.draw(r)
				sum += exact[i]
				h.Record(exact[i])
			}
			slices.Sort(exact)
			got := total(&h)
			if got.Count != uint64(len(exact)) || got.Sum != sum || got.Max != exact[len(exact)-1] {
				t.Fatalf("count %d sum %d max %d, want %d %d %d", got.Count, got.Sum, got.Max,
					len(exact), sum, exact[len(exact)-1])
			}
			for _, p := range []float64{0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1} {
				want := exact[max(int(math.Ceil(p*float64(len(exact))))-1, 0)]
				if q := got.Quantile(p); math.Abs(float64(q)-float64(want)) > 0.016*float64(want) {
					t.Errorf("quantile %v is %d, exact %d", p, q, want)
				}
			}
		})
	}
}

func TestValuesBeyondTheBucketsKeepSumAndMaximum(t *testing.T) {
	var h Hist
	h.Record(5)
	h.Record(1 << 50)
	h.Record(1 << 49)
	got := total(&h)
	if got.Count != 3 || got.Sum != 5+1<<50+1<<49 || got.Max != 1<<50 {
		t.Errorf("count %d sum %d max %d", got.Count, got.Sum, got.Max)
	}
	if q := got.Quantile(0.1); q != 5 {
		t.Errorf("lowest is %d, want 5", q)
	}
	if q := got.Quantile(0.6); q < HistLimit-HistLimit/32 || q > 1<<50 {
		t.Errorf("quantile in the last bucket is %d", q)
	}
}

func TestRecordNEqualsRecordNTimes(t *testing.T) {
	var one, many Hist
	for _, v := range []uint64{0, 1, 63, 64, 1000, 1e9} {
		many.RecordN(v, 7)
		many.RecordN(v+1e12, 0)
		for range 7 {
			one.Record(v)
		}
	}
	if one != many {
		t.Error("histograms differ")
	}
}

func TestEmptyHistogramIsZero(t *testing.T) {
	var h HistTotal
	h.Merge(&HistTotal{})
	h.Buckets(func(low, _, _ uint64) { t.Errorf("bucket at %d", low) })
	if h.Quantile(0.5) != 0 || h.Mean() != 0 {
		t.Error("not zero")
	}
}

func TestMergedTotalsEqualOneTotalOfAll(t *testing.T) {
	var a, b, both Hist
	for v := range uint64(1000) {
		a.Record(v * v)
		both.Record(v * v)
		b.Record(v * 7)
		both.Record(v * 7)
	}
	got, want := total(&a), total(&both)
	got.Merge(total(&b))
	if got.Count != want.Count || got.Sum != want.Sum || got.Max != want.Max ||
		!slices.Equal(got.b, want.b) {
		t.Error("totals differ")
	}
	var n uint64
	got.Buckets(func(low, high, count uint64) {
		if low >= high {
			t.Errorf("bucket [%d, %d)", low, high)
		}
		n += count
	})
	if n != got.Count {
		t.Errorf("buckets hold %d of %d", n, got.Count)
	}
}

func FuzzBuckets(f *testing.F) {
	f.Add(uint64(0))
	f.Add(uint64(64))
	f.Add(uint64(math.MaxUint64))
	f.Fuzz(func(t *testing.T, v uint64) {
		i := int(bucketOf(v))
		low, high := BucketBounds(i)
		if v < low || v >= high && i != HistBuckets-1 {
			t.Fatalf("value %d went to bucket %d = [%d, %d)", v, i, low, high)
		}
	})
}

// A Run records the same as single records.
func TestRunRecordsTheSame(t *testing.T) {
	var one, gathered Hist
	var run Run
	for _, v := range []uint64{0, 0, 7, 7, 7, 0, 1 << 40, 1 << 40, 63, 64, 0} {
		one.Record(v)
		run.Add(&gathered, v)
	}
	run.Flush(&gathered)
	run.Flush(&gathered)
	if one != gathered {
		t.Errorf("%d values that add up to %d, want %d", gathered.b[0], gathered.sum, one.sum)
	}
}
