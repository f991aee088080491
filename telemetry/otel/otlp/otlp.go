package otlp

import (
	"context"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
)

// Exporters is a value for Config.OTLP of package otel.
type Exporters struct{}

// Metrics returns an exporter of metrics over gRPC or HTTP. It reads the OTEL_EXPORTER_OTLP_*
// variables. ctx bounds its creation only.
func (Exporters) Metrics(ctx context.Context, grpc bool) (metric.Exporter, error) {
	if grpc {
		return otlpmetricgrpc.New(ctx)
	}
	return otlpmetrichttp.New(ctx)
}

// Traces returns an exporter of spans over gRPC or HTTP. It reads the OTEL_EXPORTER_OTLP_*
// variables. ctx bounds its creation only.
func (Exporters) Traces(ctx context.Context, grpc bool) (trace.SpanExporter, error) {
	if grpc {
		return otlptracegrpc.New(ctx)
	}
	return otlptracehttp.New(ctx)
}
