// Command otelcol is the OpenTelemetry collector of the upstream project with one receiver and one exporter, for the tests:
// what a server exports is taken by the collector that people run, and not only by services written beside the exporter.
//
//	sluice serve ==OTLP, http or gRPC==> otlpreceiver --> pipelines --> otlphttpexporter ==OTLP, http==> the test
//
// It is a module of its own, so that nothing else depends on the collector. Start reading at main; the test that uses it is
// TestACollectorGetsWholeTreesFromAServer in cmd/sluice, the reasons are in docs/decisions/0023-upstream-collector.md.
package main
