// Package otel exports what package telemetry measured to Prometheus and OpenTelemetry collectors:
// metrics, and a span tree for each sampled response.
//
//	recorders --Collector--> Totals --+--> view (text)   --> registry --\
//	                                  +--> view (native) --> registry ---+--> Handler: /metrics, by Accept
//	gauges (atomics) -----------------+--> view (OTLP)   --> periodic reader --> collector, HTTP or gRPC
//	                                            ^
//	                                            | exemplars
//	trace boxes --drain--> token bucket --> span tree --> batch processor ---> collector, HTTP or gRPC
//
// The pipeline never calls an OpenTelemetry instrument. A view is a metric.Producer: when a reader
// asks, it converts the collector's totals to the shape and temporality of that reader.
//
// Guarantees:
//
//   - Counts are exact: every view reads the same cumulative totals, and a view that reports
//     differences computes its own. The export at Shutdown contains everything that parked actors
//     recorded.
//   - High-water marks belong to one view: a scrape does not reset those of an export.
//   - No metric is labelled by connection, account, sequence number or peer.
//   - A collector that hangs, refuses or is slow only raises drop counters: no goroutine of the
//     pipeline waits for this package, and Shutdown is bounded.
//   - Traces are dropped as whole trees, never in part, and counted by reason.
//
// Goroutines: one drains the trace boxes and may block on the batch processor; one collects if no
// reader does; readers and processors of the SDK have their own. Handler runs on the goroutines of the
// HTTP server.
//
// Where to start reading: instrument.go (every metric), view.go (from totals to data points), span.go
// (from a record to a span tree), start.go (start and shutdown). docs/decisions/0015 records the
// decisions, docs/telemetry.md is the list for users.
package otel
