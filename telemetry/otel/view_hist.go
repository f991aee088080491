package otel

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"sluice/telemetry"
)

// histSeries adds up one histogram over all actors. The total of the previous report is for differences.
type histSeries struct {
	measure  measure
	attrs    attribute.Set
	total    telemetry.HistTotal
	previous telemetry.HistTotal
}

// histogram returns the data of an instrument's histograms. If nothing was recorded yet, it returns nil:
// a stage that an installation does not have is not exported.
func (v *view) histogram(name string, now time.Time) metricdata.Aggregation {
	var hists []int
	switch name {
	case nameWhole:
		hists = []int{int(telemetry.StageWhole)}
	case nameBatch:
		hists = []int{batchSize}
	default:
		for s := range int(telemetry.StageWhole) {
			hists = append(hists, s)
		}
	}
	if v.shape.exponential {
		return v.exponential(hists, now)
	}
	return v.classic(hists, now)
}

// report returns the content of a data point: the total, or the difference to the previous report.
func (h *histSeries) report(delta bool) *telemetry.HistTotal {
	if !delta {
		return &h.total
	}
	d := new(telemetry.HistTotal)
	d.Merge(&h.total)
	d.Subtract(&h.previous)
	h.previous.Reset()
	h.previous.Merge(&h.total)
	return d
}

// period returns temporality and start of a histogram's data. Exemplars older than the start do not
// belong to it.
func (v *view) period() (metricdata.Temporality, time.Time) {
	if v.deltas.histograms {
		return metricdata.DeltaTemporality, v.from
	}
	return metricdata.CumulativeTemporality, v.src.start
}

// each calls f for every histogram that is exported: those with values, and StageWhole, because
// dashboards expect it.
func (v *view) each(hists []int, f func(i int, h *histSeries, t *telemetry.HistTotal)) {
	for _, i := range hists {
		h := &v.hists[i]
		if h.total.Count > 0 || i == int(telemetry.StageWhole) {
			f(i, h, h.report(v.deltas.histograms))
		}
	}
}

func (v *view) classic(hists []int, now time.Time) metricdata.Aggregation {
	temporality, start := v.period()
	var points []metricdata.HistogramDataPoint[float64]
	v.each(hists, func(i int, h *histSeries, t *telemetry.HistTotal) {
		points = append(points, metricdata.HistogramDataPoint[float64]{
			Attributes: h.attrs, StartTime: start, Time: now,
			Count: t.Count, Sum: float64(t.Sum) / h.measure.scale, Max: v.maximum(h),
			Bounds: h.measure.exported, BucketCounts: classic(t,
				h.measure.bounds), Exemplars: v.exemplars(i, start),
		})
	})
	if points == nil {
		return nil
	}
	return metricdata.Histogram[float64]{DataPoints: points, Temporality: temporality}
}

func (v *view) exponential(hists []int, now time.Time) metricdata.Aggregation {
	temporality, start := v.period()
	var points []metricdata.ExponentialHistogramDataPoint[float64]
	v.each(hists, func(i int, h *histSeries, t *telemetry.HistTotal) {
		buckets, zeros, scale := exponential(t, h.measure.scale, v.shape)
		points = append(points, metricdata.ExponentialHistogramDataPoint[float64]{
			Attributes: h.attrs, StartTime: start, Time: now,
			Count: t.Count, Sum: float64(t.Sum) / h.measure.scale, Max: v.maximum(h),
			Scale: scale, ZeroCount: zeros, PositiveBucket: buckets, Exemplars: v.exemplars(i, start),
		})
	})
	if points == nil {
		return nil
	}
	return metricdata.ExponentialHistogram[float64]{DataPoints: points, Temporality: temporality}
}

// maximum is exported for totals only: the maximum of a difference is not known.
func (v *view) maximum(h *histSeries) (m metricdata.Extrema[float64]) {
	if !v.deltas.histograms && h.total.Count > 0 {
		m = metricdata.NewExtrema(float64(h.total.Max) / h.measure.scale)
	}
	return m
}

func (v *view) exemplars(i int, from time.Time) []metricdata.Exemplar[float64] {
	if i == batchSize {
		return nil
	}
	return v.src.exemplars.since(telemetry.Stage(i), from)
}
