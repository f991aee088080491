package otel

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
)

// newResource describes this process. Attributes from variables come last and take precedence.
func newResource(ctx context.Context, c *Config) (*resource.Resource, error) {
	version := c.ServiceVersion
	if version == "" {
		if info, ok := debug.ReadBuildInfo(); ok {
			version = info.Main.Version
		}
	}
	kv := []attribute.KeyValue{semconv.ServiceName(c.ServiceName), semconv.ServiceNamespace("sluice")}
	for _, a := range []struct{ key, value string }{
		{"service.version", version}, {"service.instance.id", c.InstanceID},
		{"sluice.cluster.id", c.ClusterID}, {"sluice.node.role", c.NodeRole},
	} {
		if a.value != "" {
			kv = append(kv, attribute.String(a.key, a.value))
		}
	}
	res, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(),
		resource.WithProcessPID(), resource.WithAttributes(kv...), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("otel: resource (OTEL_RESOURCE_ATTRIBUTES is a list of key=value): %w", err)
	}
	return resource.NewWithAttributes(res.SchemaURL(), cleaned(res)...), nil
}

// cleaned returns the attributes of a resource with U+FFFD for bytes that are not UTF-8, as names of
// hosts and directories may have. One such byte would stop every export over OTLP.
func cleaned(res *resource.Resource) (kv []attribute.KeyValue) {
	for _, a := range res.Attributes() {
		if a.Value.Type() == attribute.STRING {
			a.Value = attribute.StringValue(strings.ToValidUTF8(a.Value.AsString(), "\uFFFD"))
		}
		kv = append(kv, a)
	}
	return kv
}

// checkLabel reports why an attribute cannot be a label of target_info, which then is not scraped
// at all: it has no letter or digit, or is reserved.
func checkLabel(key string) error {
	namer := otlptranslator.LabelNamer{}
	label, err := namer.Build(key)
	if err != nil {
		return fmt.Errorf("attribute %q cannot be a label: %w; name it with letters", key, err)
	}
	if strings.HasPrefix(label, "__") {
		return fmt.Errorf("attribute %q would be the label %s, which is reserved in Prometheus; "+
			"name it without __ at its beginning", key, label)
	}
	return nil
}
