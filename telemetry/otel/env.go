package otel

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// FromEnv completes a configuration from the OTEL_* variables that the SDK and its exporters do not
// read themselves (docs/telemetry.md lists both kinds). A variable that is set overrides c; an empty one
// counts as unset. An invalid value is an error. c needs no Collector, so FromEnv can be called before
// the pipeline exists.
func FromEnv(c Config) (Config, error) {
	c.Disabled = c.Disabled || strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true")
	if v := os.Getenv("OTEL_METRICS_EXPORTER"); v != "" {
		c.Metrics = nil
		for name := range strings.SplitSeq(v, ",") {
			c.Metrics = append(c.Metrics, strings.TrimSpace(name))
		}
	}
	switch v := os.Getenv("OTEL_TRACES_EXPORTER"); {
	case v != "":
		c.Traces = v
	case c.Traces == "" &&
		firstSet("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") != "":
		c.Traces = ExporterOTLP
	}
	if v := firstSet("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); v != "" {
		c.MetricsProtocol = v
	}
	if v := firstSet("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); v != "" {
		c.TracesProtocol = v
	}
	if strings.EqualFold(strings.TrimSpace(os.Getenv("OTEL_METRICS_EXEMPLAR_FILTER")), "always_off") {
		c.NoExemplars = true
	}
	host, port := os.Getenv("OTEL_EXPORTER_PROMETHEUS_HOST"), os.Getenv("OTEL_EXPORTER_PROMETHEUS_PORT")
	if host != "" || port != "" {
		setDefault(&host, "localhost")
		setDefault(&port, "9464")
		c.AdminAddr = net.JoinHostPort(host, port)
	}
	if err := samplerFromEnv(&c); err != nil {
		return c, err
	}
	filled := c
	filled.defaults()
	if err := filled.checkVariables(); err != nil {
		return c, err
	}
	if !c.Disabled {
		if _, err := newResource(context.Background(), &filled); err != nil {
			return c, err
		}
	}
	return c, filled.checkSettings()
}

// samplerFromEnv reads the sampling ratio. A sampled parent of a request is always continued, so the
// parent-based samplers equal the plain ones.
func samplerFromEnv(c *Config) error {
	name := os.Getenv("OTEL_TRACES_SAMPLER")
	switch strings.TrimPrefix(name, "parentbased_") {
	case "":
	case "always_on":
		c.TraceRatio = 1
	case "always_off":
		c.TraceRatio = 0
	case "traceidratio":
		arg := os.Getenv("OTEL_TRACES_SAMPLER_ARG")
		setDefault(&arg, "1")
		ratio, err := strconv.ParseFloat(arg, 64)
		if err != nil || !(ratio >= 0 && ratio <= 1) {
			return fmt.Errorf("otel: OTEL_TRACES_SAMPLER_ARG is %q; use a number from 0 to 1", arg)
		}
		c.TraceRatio = ratio
	default:
		return fmt.Errorf("otel: OTEL_TRACES_SAMPLER is %q; use always_on, always_off or "+
			"traceidratio, with or without parentbased_", name)
	}
	return nil
}

func firstSet(names ...string) string {
	for _, n := range names {
		if v := os.Getenv(n); v != "" {
			return v
		}
	}
	return ""
}
