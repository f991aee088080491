package otel

import (
	"sync/atomic"

	"sluice/telemetry"
)

// selfCounts counts the traces and errors of telemetry itself.
type selfCounts struct {
	sampled  [5]atomic.Uint64 // by telemetry.TraceReason; written by the trace goroutine, read by views
	rate     atomic.Uint64    // traces over the rate; written by the trace goroutine, read by views
	exporter atomic.Uint64    // traces whose export failed; written by the batch processor's goroutine, read by views

	metricErrors atomic.Uint64 // written by the periodic readers' goroutines, read by views
	traceErrors  atomic.Uint64 // written by the batch processor's goroutine, read by views
	sdkErrors    atomic.Uint64 // written by any goroutine of the SDK, read by views

	boxes []*telemetry.TraceBox
}

// each calls f with every count, as one series of an instrument.
func (s *selfCounts) each(f func(name, label, value string, n uint64)) {
	for r := telemetry.TraceReasonParent; r <= telemetry.TraceReasonSlow; r++ {
		f(nameSampled, "reason", r.Name(), s.sampled[r].Load())
	}
	var full uint64
	for _, b := range s.boxes {
		full += b.Refused()
	}
	f(nameDropped, "reason", "mailbox", full)
	f(nameDropped, "reason", "rate", s.rate.Load())
	f(nameDropped, "reason", "exporter", s.exporter.Load())
	f(nameErrors, "source", "metrics", s.metricErrors.Load())
	f(nameErrors, "source", "traces", s.traceErrors.Load())
	f(nameErrors, "source", "sdk", s.sdkErrors.Load())
}
