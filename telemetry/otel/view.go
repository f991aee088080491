package otel

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"sluice/telemetry"
)

// scopeName is the instrumentation scope of all metrics and spans.
const scopeName = "sluice/telemetry"

// minAge is the maximum age of the totals that a reader accepts: readers that ask at the same time
// share one collection.
const minAge = 100 * time.Millisecond

// view converts totals to the data of one reader, with the reader's shape and temporality and its own
// high-water marks. It is a metric.Producer.
type view struct {
	src    *source
	shape  shape
	deltas deltas

	mu      sync.Mutex
	marks   *telemetry.View
	table   *table
	hists   [telemetry.NumStages + 1]histSeries // by stage, then batch sizes
	counter [telemetry.NumCounters]counterTarget
	from    time.Time // end of the last report
}

// deltas are the kinds of metrics that a reader receives as differences.
type deltas struct{ counters, histograms bool }

// source is shared by all views of one Telemetry.
type source struct {
	collector *telemetry.Collector
	now       func() int64 // reads the collector's clock
	start     time.Time
	scope     instrumentation.Scope
	exemplars *exemplars // nil: no exemplars
	self      *selfCounts
	slo       uint64 // latency objective in ns, a bound of the fine buckets
}

// counterTarget is the series of a counter.
type counterTarget struct {
	row          int // -1: not exported
	label, value string
}

const batchSize = telemetry.NumStages // index of the batch sizes in view.hists

func newView(src *source, s shape, d deltas) *view {
	v := &view{src: src, shape: s, deltas: d, marks: src.collector.NewView(), table: newTable(),
		from: src.start}
	for i := range v.hists {
		v.hists[i].measure = durationMeasure()
		if i == batchSize {
			v.hists[i].measure = countMeasure()
		} else if s := telemetry.Stage(i); s != telemetry.StageWhole {
			v.hists[i].attrs = attribute.NewSet(attribute.String("stage", s.Name()))
		}
	}
	for c := range v.counter {
		info := telemetry.Counter(c).Info()
		i, ok := v.table.byName[info.Name]
		label, value := info.Label, info.Value
		if !ok {
			i, ok = v.table.byName[info.Name+" "+value]
			label, value = "", ""
		}
		if !ok {
			i = -1
		}
		v.counter[c] = counterTarget{i, label, value}
	}
	return v
}

// Produce returns all metrics as of now. It never returns an error, because a reader would discard the
// data that came with it. Actors that did not answer in time are counted as stale.
func (v *view) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.src.collector.Collect(minAge)
	now := time.Now()
	v.table.zero()
	for i := range v.hists {
		v.hists[i].total.Reset()
	}
	v.marks.Each(v.actor)
	v.gauges()
	v.computed()

	metrics := make([]metricdata.Metrics, 0, len(v.table.rows))
	for i := range v.table.rows {
		var data metricdata.Aggregation
		if r := &v.table.rows[i]; r.Kind == Histogram {
			data = v.histogram(r.Name, now)
		} else {
			data = v.table.metrics(i, v.deltas.counters, v.src.start, v.from, now)
		}
		if r := &v.table.rows[i]; data != nil {
			metrics = append(metrics, metricdata.Metrics{Name: r.Name, Description: r.Help,
				Unit: r.Unit, Data: data})
		}
	}
	v.from = now
	return []metricdata.ScopeMetrics{{Scope: v.src.scope, Metrics: metrics}}, nil
}

// actor adds one actor's totals.
func (v *view) actor(t *telemetry.Totals, marks [telemetry.NumMarks]uint64) {
	for s := range t.H {
		v.hists[s].total.Merge(&t.H[s])
	}
	if t.Actor == kindEgress {
		v.hists[batchSize].total.Merge(&t.Batch)
	}
	for c, n := range t.C {
		to := v.counter[c]
		if to.row < 0 || n == 0 && !owns(&v.table.rows[to.row], t.Actor, telemetry.Counter(c)) {
			continue
		}
		s := v.table.at(to.row, t.Actor, t.Shard, to.label, to.value)
		if v.table.rows[to.row].float {
			s.f += float64(n) / nanosPerSecond
		} else {
			s.n += n
		}
	}
	for m, n := range marks {
		i := v.table.byName[telemetry.Mark(m).Info().Name+" max"]
		if n != 0 || owns(&v.table.rows[i], t.Actor, 0) {
			v.table.at(i, t.Actor, t.Shard, "", "").f = float64(n)
		}
	}
	v.table.at(v.table.byName[nameStale], t.Actor, t.Shard, "", "").n = t.Stale
	v.table.at(v.table.byName[nameSilent], t.Actor, t.Shard, "", "").f = t.Silent(v.src.now()).Seconds()
}

// owns reports whether a zero of this actor is exported.
func owns(r *row, actor string, c telemetry.Counter) bool {
	if c == telemetry.CloseNone.Counter() {
		return false // an open connection has no reason
	}
	return r.actors == "" || r.actors == actor
}

func (v *view) gauges() {
	exportedAs := mailboxGauges()
	v.src.collector.Gauges(func(g telemetry.Gauge, value float64) {
		if in, ok := exportedAs[g.ID]; ok {
			g.Name, g.Label, g.Value = in.gauge.Info().Name, "mailbox", in.mailbox
		}
		i, ok := v.table.byName[g.Name]
		if !ok {
			i = v.table.add(derived(g))
		}
		v.table.at(i, "", g.Shard, g.Label, g.Value).f = value
	})
}

// computed sets the instruments that actors do not count.
func (v *view) computed() {
	set := func(name, label, value string) *series {
		return v.table.at(v.table.byName[name], "", telemetry.NoShard, label, value)
	}
	set(nameSLO, "", "").f = float64(v.src.slo) / nanosPerSecond
	var late uint64
	v.hists[telemetry.StageWhole].total.Buckets(func(low, _, n uint64) {
		if low >= v.src.slo {
			late += n
		}
	})
	set(nameViolations, "", "").n = late
	v.src.self.each(func(name, label, value string, n uint64) { set(name, label, value).n = n })
}

// sloBound rounds a latency objective up to a bound of the fine buckets, so that violations are counted
// exactly.
func sloBound(slo time.Duration) uint64 {
	for i := range telemetry.HistBuckets {
		if low, _ := telemetry.BucketBounds(i); low >= uint64(max(slo, 0)) {
			return low
		}
	}
	return telemetry.HistLimit
}
