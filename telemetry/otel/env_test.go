package otel

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFromEnvReadsVariables(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		ok   func(c Config) bool
	}{
		{"nothing set exports to Prometheus only", nil, func(c Config) bool {
			c.defaults()
			return slices.Equal(c.Metrics, []string{"prometheus"}) && c.Traces == "none" &&
				c.MetricsProtocol == ProtocolHTTP
		}},
		{"metrics exporters are a list",
			map[string]string{"OTEL_METRICS_EXPORTER": "otlp, prometheus,console"},
			func(c Config) bool {
				return slices.Equal(c.Metrics, []string{"otlp", "prometheus", "console"})
			}},
		{"none is none", map[string]string{"OTEL_METRICS_EXPORTER": "none",
			"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"},
			func(c Config) bool {
				return slices.Equal(c.Metrics, []string{"none"}) && c.Traces == "none"
			}},
		{"an endpoint turns traces on",
			map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318"},
			func(c Config) bool { return c.Traces == "otlp" }},
		{"an endpoint for traces too",
			map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x:4318"},
			func(c Config) bool { return c.Traces == "otlp" }},
		{"one for metrics does not",
			map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://x:4318"},
			func(c Config) bool { return c.Traces == "" }},
		{"protocol by signal", map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
			"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, func(c Config) bool {
			return c.MetricsProtocol == "grpc" && c.TracesProtocol == "http/protobuf"
		}},
		{"Prometheus address", map[string]string{"OTEL_EXPORTER_PROMETHEUS_HOST": "::1"},
			func(c Config) bool { return c.AdminAddr == "[::1]:9464" }},
		{"Prometheus port", map[string]string{"OTEL_EXPORTER_PROMETHEUS_PORT": "81"},
			func(c Config) bool { return c.AdminAddr == "localhost:81" }},
		{"sampler ratio", map[string]string{"OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
			"OTEL_TRACES_SAMPLER_ARG": "0.25"}, func(c Config) bool { return c.TraceRatio == 0.25 }},
		{"sampler on", map[string]string{"OTEL_TRACES_SAMPLER": "always_on"},
			func(c Config) bool { return c.TraceRatio == 1 }},
		{"sampler off", map[string]string{"OTEL_TRACES_SAMPLER": "parentbased_always_off"},
			func(c Config) bool { return c.TraceRatio == 0 }},
		{"exemplars off", map[string]string{"OTEL_METRICS_EXEMPLAR_FILTER": "always_off"},
			func(c Config) bool { return c.NoExemplars }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			got, err := FromEnv(Config{TraceRatio: 0.5})
			if err != nil || !c.ok(got) {
				t.Errorf("%+v %v", got, err)
			}
		})
	}
}

func TestInvalidSettingsAreReported(t *testing.T) {
	for _, c := range []struct{ name, key, value, want string }{
		{"exporter for metrics", "OTEL_METRICS_EXPORTER", "otlp,jaeger", `"jaeger"`},
		{"exporter for traces", "OTEL_TRACES_EXPORTER", "zipkin", `"zipkin"`},
		{"protocol", "OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", `"http/json"`},
		{"sampler", "OTEL_TRACES_SAMPLER", "jaeger_remote", `"jaeger_remote"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(c.key, c.value)
			if _, err := FromEnv(newRig().config()); err == nil ||
				!strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "use ") {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("sampler argument", func(t *testing.T) {
		t.Setenv("OTEL_TRACES_SAMPLER", "traceidratio")
		for _, arg := range []string{"1.5", "NaN", "half"} {
			t.Setenv("OTEL_TRACES_SAMPLER_ARG", arg)
			if _, err := FromEnv(newRig().config()); err == nil || !strings.Contains(err.Error(), arg) {
				t.Errorf("%v", err)
			}
		}
	})
	for name, change := range map[string]func(*Config){
		"no collector":       func(c *Config) { c.Collector = nil },
		"scale":              func(c *Config) { c.Scale = 9 },
		"ratio":              func(c *Config) { c.TraceRatio = 2 },
		"rate":               func(c *Config) { c.TracesPerSecond = -1 },
		"collect too seldom": func(c *Config) { c.CollectEvery = time.Hour },
		"histograms":         func(c *Config) { c.Histograms = "tall" },
	} {
		t.Run(name, func(t *testing.T) {
			c := newRig().config()
			change(&c)
			if _, err := Start(t.Context(), c); err == nil ||
				!strings.HasPrefix(err.Error(), "otel: ") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestConsoleExportersWrite(t *testing.T) {
	r := newRig()
	c := r.config()
	out := new(lockedBuffer)
	c.Metrics, c.Traces, c.Console = []string{ExporterConsole}, ExporterConsole, out
	tel, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	rec := sampled(r, 1)
	r.boxes[0].TryPut(&rec)
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sluice.response.duration", "gate.journal"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in %d bytes of output", want, len(out.String()))
		}
	}
}
