package otel

import (
	"sort"
	"sync"
	"time"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"sluice/telemetry"
)

// exemplars keeps the newest trace of every classic bucket of every stage. The trace goroutine writes,
// views read; a mutex serializes them. A nil *exemplars keeps nothing.
type exemplars struct {
	bounds []uint64

	mu   sync.Mutex
	last [telemetry.NumStages][]exemplar
}

type exemplar struct {
	ns    uint64
	at    time.Time
	trace [16]byte
	span  [8]byte
}

func newExemplars() *exemplars {
	x := &exemplars{bounds: timeBounds()}
	for i := range x.last {
		x.last[i] = make([]exemplar, len(x.bounds)+1)
	}
	return x
}

func (x *exemplars) put(s telemetry.Stage, e exemplar) {
	if x == nil {
		return
	}
	i := sort.Search(len(x.bounds), func(i int) bool { return e.ns < x.bounds[i] })
	x.mu.Lock()
	x.last[s][i] = e
	x.mu.Unlock()
}

// since returns the exemplars of a stage that are not older than from.
func (x *exemplars) since(s telemetry.Stage, from time.Time) []metricdata.Exemplar[float64] {
	if x == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	var list []metricdata.Exemplar[float64]
	for i := range x.last[s] {
		if e := &x.last[s][i]; !e.at.IsZero() && !e.at.Before(from) {
			list = append(list, metricdata.Exemplar[float64]{
				Time: e.at, Value: float64(e.ns) / nanosPerSecond, TraceID: append([]byte(nil),
					e.trace[:]...), SpanID: append([]byte(nil), e.span[:]...),
			})
		}
	}
	return list
}
