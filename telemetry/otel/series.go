package otel

import (
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"sluice/telemetry"
)

// table holds the current value of every series of one view, by instrument. A series is created when it
// is first seen and never removed, so a counter that was exported once stays. The view's mutex guards
// it.
type table struct {
	rows   []row
	byName map[string]int // index in rows, by row.from, or by Instrument.Name where from is empty
	data   []instrumentData
}

type instrumentData struct {
	index map[seriesKey]int
	list  []series
}

// seriesKey identifies a series of one instrument.
type seriesKey struct {
	actor string // for byActor and byMailbox
	shard int
	value string // value of the instrument's own label
}

// series is one series of an instrument. Counters are integers, unless they count time; all other
// values are floats.
type series struct {
	attrs attribute.Set
	n     uint64
	f     float64
	prevN uint64 // as last reported, for differences
	prevF float64
}

func newTable() *table {
	t := &table{byName: make(map[string]int)}
	for _, r := range rows() {
		t.add(r)
	}
	return t
}

func (t *table) add(r row) int {
	i := len(t.rows)
	t.rows = append(t.rows, r)
	t.data = append(t.data, instrumentData{index: make(map[seriesKey]int)})
	name := r.from
	if name == "" {
		name = r.Name
	}
	t.byName[name] = i
	return i
}

// zero resets all values, before the totals of all actors are added up.
func (t *table) zero() {
	for i := range t.data {
		for j := range t.data[i].list {
			s := &t.data[i].list[j]
			s.n, s.f = 0, 0
		}
	}
}

// at returns the series of instrument i for an actor, and creates it if it is new. The pointer is valid
// until the next call.
func (t *table) at(i int, actor string, shard int, label, value string) *series {
	r, d := &t.rows[i], &t.data[i]
	k := seriesKey{shard: telemetry.NoShard, value: value}
	if r.by != byNone {
		k.shard = shard
	}
	if r.by == byActor || r.by == byMailbox {
		k.actor = actor
	}
	j, ok := d.index[k]
	if !ok {
		j = len(d.list)
		d.index[k] = j
		d.list = append(d.list, series{attrs: attributesOf(r, k, label)})
	}
	return &d.list[j]
}

func attributesOf(r *row, k seriesKey, label string) attribute.Set {
	var kv []attribute.KeyValue
	switch r.by {
	case byActor:
		kv = append(kv, attribute.String("stage", k.actor))
	case byMailbox:
		kv = append(kv, attribute.String("mailbox", k.actor))
	}
	if k.shard != telemetry.NoShard {
		kv = append(kv, attribute.String("shard", strconv.Itoa(k.shard)))
	}
	if label != "" {
		kv = append(kv, attribute.String(label, k.value))
	}
	return attribute.NewSet(kv...)
}

// metrics returns the data of instrument i at now: since from if it is reported as differences, since
// start otherwise. It returns nil if the instrument has no series.
func (t *table) metrics(i int, delta bool, start, from, now time.Time) metricdata.Aggregation {
	r, d := &t.rows[i], &t.data[i]
	if len(d.list) == 0 {
		return nil
	}
	temporality := metricdata.CumulativeTemporality
	if delta && r.Kind == Counter {
		temporality, start = metricdata.DeltaTemporality, from
	}
	switch {
	case r.Kind == Gauge:
		return metricdata.Gauge[float64]{DataPoints: d.floats(false, time.Time{}, now)}
	case r.float:
		return metricdata.Sum[float64]{DataPoints: d.floats(delta && r.Kind == Counter, start, now),
			Temporality: temporality, IsMonotonic: r.Kind == Counter}
	}
	points := make([]metricdata.DataPoint[int64], len(d.list))
	for j := range d.list {
		s := &d.list[j]
		v := s.n
		if temporality == metricdata.DeltaTemporality {
			v -= s.prevN
			s.prevN = s.n
		}
		points[j] = metricdata.DataPoint[int64]{Attributes: s.attrs, StartTime: start, Time: now,
			Value: int64(v)}
	}
	return metricdata.Sum[int64]{DataPoints: points, Temporality: temporality, IsMonotonic: true}
}

func (d *instrumentData) floats(delta bool, start, now time.Time) []metricdata.DataPoint[float64] {
	points := make([]metricdata.DataPoint[float64], len(d.list))
	for j := range d.list {
		s := &d.list[j]
		v := s.f
		if delta {
			v -= s.prevF
			s.prevF = s.f
		}
		points[j] = metricdata.DataPoint[float64]{Attributes: s.attrs, StartTime: start, Time: now,
			Value: v}
	}
	return points
}
