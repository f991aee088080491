package otel

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"sluice/telemetry"
)

// testView returns a view of a rig.
func testView(r *rig, s shape, d deltas) *view {
	c := r.config()
	c.defaults()
	return newView(newSource(&c), s, d)
}

// produce returns the data of a view by metric name.
func produce(t testing.TB, v *view) map[string]metricdata.Metrics {
	t.Helper()
	v.src.collector.Final() // so that Produce does not use older totals
	scopes, err := v.Produce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]metricdata.Metrics)
	for _, m := range scopes[0].Metrics {
		all[m.Name] = m
	}
	return all
}

func sumOf(t testing.TB, m metricdata.Metrics) (sum int64) {
	t.Helper()
	for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
		sum += p.Value
	}
	return sum
}

func TestClassicBucketsCountExactly(t *testing.T) {
	r := newRig()
	v := testView(r, shape{}, deltas{})
	values := []uint64{0, 1, 1023, 1024, 1535, 1536, 1 << 29, 3<<29 - 1, 3 << 29, 1 << 40}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		values = append(values, uint64(math.Exp(rng.NormFloat64()*3+11)))
	}
	r.record("egress 0", func(b *telemetry.Block) {
		for _, x := range values {
			b.H[telemetry.StageWhole].Record(x)
		}
	})
	p := produce(t, v)[nameWhole].Data.(metricdata.Histogram[float64]).DataPoints[0]
	below := uint64(0)
	for i, bound := range timeBounds() {
		below += p.BucketCounts[i]
		var want, sum uint64
		for _, x := range values {
			sum += x
			if x < bound {
				want++
			}
		}
		if below != want {
			t.Errorf("below %d ns: %d, want %d", bound, below, want)
		}
		if p.Bounds[i] != float64(bound)/1e9 {
			t.Errorf("bound %d is shown as %v", bound, p.Bounds[i])
		}
		if p.Sum != float64(sum)/1e9 {
			t.Errorf("sum %v s, want %v", p.Sum, float64(sum)/1e9)
		}
	}
	if p.Count != uint64(len(values)) || len(p.Bounds) != 42 {
		t.Errorf("count %d of %d, %d bounds", p.Count, len(values), len(p.Bounds))
	}
}

func TestBatchSizesAreExactAtTheirBounds(t *testing.T) {
	r := newRig()
	v := testView(r, shape{}, deltas{})
	r.record("egress 1", func(b *telemetry.Block) {
		for n := range uint64(1024) {
			b.Batch.Record(n + 1)
		}
	})
	p := produce(t, v)[nameBatch].Data.(metricdata.Histogram[float64]).DataPoints[0]
	below := uint64(0)
	for i, bound := range p.Bounds {
		below += p.BucketCounts[i]
		if want := min(uint64(bound), 1024); below != want {
			t.Errorf("at most %v: %d, want %d", bound, below, want)
		}
	}
}

// Each value is counted in the exponential bucket that contains it, or in a bucket that is less than a
// fine bucket away.
func TestExponentialBucketsCountNearTheValue(t *testing.T) {
	for _, s := range []shape{{exponential: true, scale: 3}, {exponential: true, scale: 5},
		{exponential: true, scale: 3, maxSize: 20}, {exponential: true, scale: -1}} {
		r := newRig()
		v := testView(r, s, deltas{})
		rng := rand.New(rand.NewPCG(3, 4))
		var values []float64
		r.record("egress 0", func(b *telemetry.Block) {
			for range 20_000 {
				x := uint64(math.Exp(rng.NormFloat64()*2 + 12))
				values = append(values, float64(x)/1e9)
				b.H[telemetry.StageWhole].Record(x)
			}
			b.H[telemetry.StageWhole].Record(0)
		})
		p := produce(t, v)[nameWhole].Data.(metricdata.ExponentialHistogram[float64]).DataPoints[0]
		var n uint64
		for _, c := range p.PositiveBucket.Counts {
			n += c
		}
		if n != 20_000 || p.ZeroCount != 1 || p.Count != 20_001 {
			t.Errorf("%+v: %d in buckets, %d zero, count %d", s, n, p.ZeroCount, p.Count)
		}
		if s.maxSize > 0 && len(p.PositiveBucket.Counts) > s.maxSize {
			t.Errorf("%d buckets, at most %d", len(p.PositiveBucket.Counts), s.maxSize)
		}
		slices.Sort(values)
		base := math.Exp2(math.Exp2(-float64(p.Scale)))
		for _, q := range []float64{0.01, 0.5, 0.99} {
			exact := values[int(q*20_000)]
			seen, i := uint64(0), 0
			for ; seen <= uint64(q*20_000); i++ {
				seen += p.PositiveBucket.Counts[i]
			}
			low := math.Pow(base, float64(int(p.PositiveBucket.Offset)+i-1))
			if exact < low*0.97 || exact > low*base*1.03 {
				t.Errorf("scale %d, quantile %v is %v, its bucket is %v to %v", p.Scale, q, exact,
					low, low*base)
			}
		}
	}
}

func TestDeltaReaderGetsEachCountOnce(t *testing.T) {
	for _, s := range []shape{{}, {exponential: true, scale: 3, maxSize: 160}} {
		r := newRig()
		v, whole := testView(r, s, deltas{counters: true, histograms: true}), testView(r, s, deltas{})
		var sent, counted, buckets uint64
		var seconds float64
		var last time.Time
		for i, n := range []int{10, 0, 7, 1} {
			r.responses("0", n, uint64(1000*(i+1)))
			all := produce(t, v)
			m := all["sluice.response.sent"].Data.(metricdata.Sum[int64])
			if m.Temporality != metricdata.DeltaTemporality {
				t.Fatal("not delta")
			}
			if got := sumOf(t, all["sluice.response.sent"]); got != int64(n) {
				t.Errorf("report %d: sent %d, want %d", i, got, n)
			}
			if !last.IsZero() && !m.DataPoints[0].StartTime.Equal(last) {
				t.Errorf("report %d begins at %v, the one before ended at %v", i,
					m.DataPoints[0].StartTime, last)
			}
			last = m.DataPoints[0].Time
			sent += uint64(n)
			count, sum, inBuckets := firstHistogram(all[nameWhole])
			counted, seconds, buckets = counted+count, seconds+sum, buckets+inBuckets
		}
		all := produce(t, whole)
		count, sum, _ := firstHistogram(all[nameWhole])
		if sent != 18 || counted != 18 || buckets != 18 || count != 18 ||
			math.Abs(sum-seconds) > 1e-12 {
			t.Errorf("exponential %v: sent %d counted %d in buckets %d; cumulative %d; sums %v %v",
				s.exponential, sent, counted, buckets, count, seconds, sum)
		}
		if m := all["sluice.active_connections"].Data.(metricdata.Sum[float64]); m.IsMonotonic ||
			m.DataPoints[0].Value != 2 {
			t.Errorf("connections: %+v", m)
		}
	}
}

// firstHistogram returns count, sum and the sum of the buckets of the first data point.
func firstHistogram(m metricdata.Metrics) (count uint64, sum float64, buckets uint64) {
	switch d := m.Data.(type) {
	case metricdata.Histogram[float64]:
		for _, n := range d.DataPoints[0].BucketCounts {
			buckets += n
		}
		return d.DataPoints[0].Count, d.DataPoints[0].Sum, buckets
	case metricdata.ExponentialHistogram[float64]:
		for _, n := range d.DataPoints[0].PositiveBucket.Counts {
			buckets += n
		}
		return d.DataPoints[0].Count, d.DataPoints[0].Sum, buckets
	}
	return 0, 0, 0
}

func TestHighWaterMarksAreKeptPerReader(t *testing.T) {
	r := newRig()
	a, b := testView(r, shape{}, deltas{}), testView(r, shape{}, deltas{})
	mark := func(v *view) (n float64) {
		for _, p := range produce(t,
			v)["sluice.egress.inflight.max"].Data.(metricdata.Gauge[float64]).DataPoints {
			n = max(n, p.Value)
		}
		return n
	}
	r.record("egress 1", func(b *telemetry.Block) { b.Mark(telemetry.MarkInFlight, 42) })
	if got := mark(a); got != 42 {
		t.Errorf("first reader: %v", got)
	}
	r.record("egress 1", func(b *telemetry.Block) { b.Mark(telemetry.MarkInFlight, 7) })
	if got := mark(a); got != 7 {
		t.Errorf("first reader again: %v, want only what was new", got)
	}
	if got := mark(b); got != 42 {
		t.Errorf("second reader: %v, the first one reset its mark", got)
	}
}

func TestEveryCounterMarkAndGaugeIsExported(t *testing.T) {
	v := testView(newRig(), shape{}, deltas{})
	for c := range telemetry.Counter(telemetry.NumCounters) {
		if name := c.Info().Name; v.counter[c].row < 0 && !unexported(name) {
			t.Errorf("counter %q has no instrument; add a row to instrument.go", name)
		}
	}
	for m := range telemetry.Mark(telemetry.NumMarks) {
		if _, ok := v.table.byName[m.Info().Name+" max"]; !ok {
			t.Errorf("mark %q has no instrument; add a row to instrument.go", m.Info().Name)
		}
	}
	inbox := mailboxGauges()
	for id := range telemetry.GaugeID(telemetry.NumGauges) {
		if _, ok := v.table.byName[id.Info().Name]; !ok && inbox[id].mailbox == "" {
			t.Errorf("gauge %q has no instrument; add a row to instrument.go", id.Info().Name)
		}
	}
	used := map[string]bool{}
	for c := range telemetry.Counter(telemetry.NumCounters) {
		used[c.Info().Name], used[c.Info().Name+" "+c.Info().Value] = true, true
	}
	for _, r := range counterRows() {
		if !used[r.from] {
			t.Errorf("instrument %s is fed by %q, which does not exist", r.Name, r.from)
		}
	}
}

// A counter of an actor that does not usually count it is exported, not lost: the ledger
// "slots in = sent + dropped" covers all actors.
func TestCountsOfUnexpectedActorsAreExported(t *testing.T) {
	r := newRig()
	v := testView(r, shape{}, deltas{})
	for name := range r.actors {
		r.record(name, func(b *telemetry.Block) {
			for c := range b.C {
				b.C[c] += 10
			}
		})
	}
	all := produce(t, v)
	for _, name := range []string{"sluice.response.sent", "sluice.gate.released",
		"sluice.egress.flushes", "sluice.response.dropped"} {
		want := int64(len(r.actors) * 10)
		switch name {
		case "sluice.egress.flushes":
			want *= 4
		case "sluice.response.dropped":
			want *= int64(telemetry.NumDropReasons)
		}
		if got := sumOf(t, all[name]); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}

func TestCustomGaugeIsExportedUnderItsOwnName(t *testing.T) {
	r := newRig()
	v := testView(r, shape{}, deltas{})
	info := telemetry.Info{Name: "ring_entries", Unit: "entries", Help: "Entries."}
	if err := r.collector.CustomGauge(info, 3, func() float64 { return 9 }); err != nil {
		t.Fatal(err)
	}
	m := produce(t, v)["sluice.ring.entries"]
	if m.Unit != "{entrie}" && m.Unit != "{entries}" ||
		m.Data.(metricdata.Gauge[float64]).DataPoints[0].Value != 9 {
		t.Errorf("%+v", m)
	}
}

func TestSLOViolationsAreCountedFromTheBound(t *testing.T) {
	r := newRig()
	v := testView(r, shape{}, deltas{})
	bound := v.src.slo
	if bound < uint64(DefaultSLO) || float64(bound) > float64(DefaultSLO)*1.04 {
		t.Errorf("objective %v became %d ns", DefaultSLO, bound)
	}
	r.responses("0", 3, bound-1)
	r.responses("1", 5, bound)
	if got := sumOf(t, produce(t, v)[nameViolations]); got != 5 {
		t.Errorf("%d violations, want 5", got)
	}
}

func TestShapeFollowsAggregation(t *testing.T) {
	for _, c := range []struct {
		asked metric.Aggregation
		want  shape
	}{
		{metric.AggregationExplicitBucketHistogram{}, shape{}},
		{metric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}, shape{true, 3, 160}},
		{metric.AggregationBase2ExponentialHistogram{MaxSize: 10, MaxScale: 1}, shape{true, 1, 10}},
	} {
		if got := shapeOf(c.asked, 3); got != c.want {
			t.Errorf("%+v gives %+v, want %+v", c.asked, got, c.want)
		}
	}
}

func TestConcurrentReadersShareOneCollection(t *testing.T) {
	r := newRig()
	a, b := testView(r, shape{}, deltas{}), testView(r, shape{}, deltas{})
	r.responses("0", 1, 1000)
	first, _ := a.Produce(context.Background())
	r.responses("0", 1, 1000)
	second, _ := b.Produce(context.Background())
	for _, s := range [][]metricdata.ScopeMetrics{first, second} {
		for _, m := range s[0].Metrics {
			if m.Name == "sluice.response.sent" && sumOf(t, m) != 1 {
				t.Logf("collected twice: more than %v passed between the two", minAge)
			}
		}
	}
	if got := sumOf(t, produce(t, b)["sluice.response.sent"]); got != 2 {
		t.Errorf("sent %d, want 2: a shared collection must not hide later samples", got)
	}
}
