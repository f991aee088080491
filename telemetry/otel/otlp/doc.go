// Package otlp has the OTLP exporters of package otel. They are apart from it because they link gRPC:
// a program that only serves /metrics does not need them.
//
//	otel.Config{OTLP: otlp.Exporters{}} ──> otel.Start ──> Metrics, Traces ──gRPC or HTTP──> collector
//
// Promises:
//
//   - Creating an exporter opens no connection and does not fail because a collector is not there.
//   - Package otel does not import this package.
//
// Start reading at Exporters.
package otlp
