// Command otelcol is the OpenTelemetry collector of the upstream project with one receiver and one
// exporter. With it a test shows that the collector which people run accepts the exports of a
// server, and not only services written for the exporter.
//
//	sluice serve ==OTLP, http or gRPC==> otlpreceiver --> pipelines --> otlphttpexporter ==OTLP, http==> the test
//
// It is a module of its own, so that nothing else depends on the collector. Start reading at main.
// The test that uses it is TestCollectorReceivesCompleteTraces in cmd/sluice; the reasons are
// in docs/decisions/0023-upstream-collector.md.
package main
