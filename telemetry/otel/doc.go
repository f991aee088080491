// Package otel brings what package telemetry measured to Prometheus and to
// OpenTelemetry collectors: metrics, and a span tree for each sampled response.
//
//	recorders --Collector--> Totals --+--> view (text)   --> registry --\
//	                                  +--> view (native) --> registry ---+--> Handler: /metrics, by Accept
//	gauges (atomics) -----------------+--> view (OTLP)   --> periodic reader --> collector, HTTP or gRPC
//	                                            ^
//	                                            | exemplars
//	trace boxes --drain--> token bucket --> span tree --> batch processor ---> collector, HTTP or gRPC
//
// No OpenTelemetry instrument is ever called by the pipeline: a view is a
// metric.Producer that turns the collector's totals into the shape and temporality
// its reader wants, at the moment the reader asks.
//
// What it promises:
//
//   - Counts are exact: every view reads the same cumulative totals, a view that has
//     to report differences makes its own, and after Shutdown the last export holds
//     everything that parked actors had recorded.
//   - High-water marks belong to one view: a scrape does not empty those of an export.
//   - Nothing is labelled by connection, account, sequence number or peer.
//   - A collector that hangs, refuses or is slow costs drop counters and nothing else:
//     no goroutine of the pipeline waits for this package, and Shutdown is bounded.
//   - Traces lose whole trees, never parts of one, and say how many and why.
//
// Goroutines: one drains trace boxes and may block on the batch processor; the
// readers' and processors' own; one collects when nobody else does. Handler runs on
// the HTTP server's.
//
// Where to start reading: instrument.go (every metric), view.go (how totals become
// data points), span.go (a record becomes a tree), start.go (life and end). The
// record of the decisions is docs/decisions/0015, the list for users docs/telemetry.md.
package otel
