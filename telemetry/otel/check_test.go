package otel

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A value that the SDK would ignore, pass on or panic over is an error that names variable and remedy.
func TestValuesThatAreNotTakenAreErrors(t *testing.T) {
	_, certificate, key := identity(t)
	none := filepath.Join(t.TempDir(), "none")
	for _, c := range []struct{ name, value, want string }{
		{"OTEL_BSP_MAX_QUEUE_SIZE", "-1", `"-1"; write a whole number from 1 to 1048576`},
		{"OTEL_BSP_MAX_QUEUE_SIZE", "99999999999", "write a whole number"},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4097", "from 1 to 4096"},
		{"OTEL_BSP_SCHEDULE_DELAY", "0", "write a whole number from 1"},
		{"OTEL_BSP_EXPORT_TIMEOUT", "5s", "times are in milliseconds"},
		{"OTEL_METRIC_EXPORT_INTERVAL", "10s", "times are in milliseconds"},
		{"OTEL_METRIC_EXPORT_TIMEOUT", "9223372036854775807", "write a whole number"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "-5", "write a whole number from 1"},
		{"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "ten", "write a whole number"},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "write gzip or none"},
		{"OTEL_EXPORTER_OTLP_INSECURE", "yes", "write true or false"},
		{"OTEL_SDK_DISABLED", "1", "write true or false"},
		{"OTEL_GO_X_OBSERVABILITY", "on", "write true or false"},
		{"OTEL_GO_X_CARDINALITY_LIMIT", "many", "write a whole number"},
		{"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "x", "write a whole number"},
		{"OTEL_METRICS_EXEMPLAR_FILTER", "off", "write always_on or always_off or trace_based"},
		{"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "both", "write cumulative or delta"},
		{"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "native", "write explicit_"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", `scheme is "collector"; write a URL`},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "//collector:4318", "write a URL with scheme"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://", "names no host"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:70000", "no valid port"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:p@h:4318", "credentials in OTEL_EXPORTER_OTLP_HEADERS"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://h/x", `scheme is "ftp"`},
		{"OTEL_EXPORTER_OTLP_HEADERS", "authorization Bearer", "entry 1 has no ="},
		{"OTEL_EXPORTER_OTLP_HEADERS", "a=1,b c=2", `"b c" is no name of a header`},
		{"OTEL_EXPORTER_OTLP_HEADERS", "a=%zz", "the value of a has a %"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "a=x%0ay", "control character"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", none, "no such file"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", key, "no certificate in PEM form"},
		{"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate, "belong together"},
		{"OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", key, "belong together"},
		{"OTEL_SERVICE_NAME", "a\xffb", "not UTF-8"},
		{"OTEL_RESOURCE_ATTRIBUTES", "region=a\xff", "not UTF-8"},
		{"OTEL_RESOURCE_ATTRIBUTES", "region=a%ff", "not UTF-8"},
		{"OTEL_RESOURCE_ATTRIBUTES", "region=5%", "write %25"},
		{"OTEL_RESOURCE_ATTRIBUTES", "region", "has no value"},
		{"OTEL_RESOURCE_ATTRIBUTES", "__name__=x", "reserved in Prometheus"},
		{"OTEL_RESOURCE_ATTRIBUTES", "..=x", "cannot be a label"},
		{"OTEL_RESOURCE_ATTRIBUTES", "=x", "cannot be a label"},
	} {
		t.Run(c.name+"="+c.value, func(t *testing.T) {
			t.Setenv(c.name, c.value)
			if _, err := FromEnv(newRig().config()); err == nil ||
				!strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.name) {
				t.Errorf("%v; want %q", err, c.want)
			}
		})
	}
	t.Run("a secret is not repeated", func(t *testing.T) {
		t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20secret%z")
		if _, err := FromEnv(newRig().config()); err == nil || strings.Contains(err.Error(), "secret") {
			t.Error(err)
		}
	})
}

func TestValuesThatAreTaken(t *testing.T) {
	_, certificate, key := identity(t)
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc",
		"OTEL_EXPORTER_OTLP_ENDPOINT": "unix:///run/collector", "OTEL_EXPORTER_OTLP_INSECURE": "TRUE",
		"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://[::1]:4317", "OTEL_BSP_MAX_QUEUE_SIZE": " 64 ",
		"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "64", "OTEL_BSP_EXPORT_TIMEOUT": "0",
		"OTEL_EXPORTER_OTLP_HEADERS": "a=1, b=%20x=y", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
		"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": certificate, "OTEL_EXPORTER_OTLP_CLIENT_KEY": key,
		"OTEL_EXPORTER_OTLP_CERTIFICATE": certificate, "OTEL_SPAN_LINK_COUNT_LIMIT": "-1",
		"OTEL_RESOURCE_ATTRIBUTES": "region=z%C3%BCrich,_a=b,1=2", "OTEL_SERVICE_NAME": "sluice ü",
		"OTEL_PROPAGATORS": "b3", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "x",
	} {
		t.Setenv(name, value)
	}
	if _, err := FromEnv(newRig().config()); err != nil {
		t.Error(err)
	}
}

// A version of the SDK that reads one more variable must not read it unchecked.
func TestEveryVariableOfTheSDKIsChecked(t *testing.T) {
	dirs, err := exec.Command("go", "list", "-deps", "-f",
		`{{with .Module}}{{if not .Main}}{{$.Dir}}{{end}}{{end}}`, "./...").Output()
	if err != nil {
		t.Skipf("no module cache: %v", err)
	}
	known := new(Config).variables()
	whole := regexp.MustCompile(`"(OTEL_[A-Z0-9_]+[A-Z0-9])"`)
	part := regexp.MustCompile(`\b(?:With[A-Za-z]+|[a-z][A-Za-z]*)\("((?:METRICS_|TRACES_)?[A-Z]+(?:_[A-Z]+)*)",`)
	found := 0
	for _, dir := range slices.Compact(strings.Fields(string(dirs))) {
		if !strings.Contains(dir, "go.opentelemetry.io") {
			continue
		}
		files, err := fs.Glob(os.DirFS(dir), "*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			source, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range whole.FindAllStringSubmatch(string(source), -1) {
				found++
				if known[m[1]] == nil && m[1] != strings.TrimSuffix(prefixOTLP, "_") {
					t.Errorf("%s in %s/%s is not checked", m[1], dir, file)
				}
			}
			if filepath.Base(file) != "envconfig.go" {
				continue
			}
			for _, m := range part.FindAllStringSubmatch(string(source), -1) {
				found++
				if known[prefixOTLP+m[1]] == nil {
					t.Errorf("%s%s in %s/%s is not checked", prefixOTLP, m[1], dir, file)
				}
			}
		}
	}
	if found < 40 {
		t.Errorf("%d variables found in the sources; there must be more", found)
	}
}

// Names of hosts and directories may have bytes that are not UTF-8. One would stop every export.
func TestNamesThatAreNotUTF8AreExported(t *testing.T) {
	in := receive(t, ProtocolHTTP)
	r := newRig()
	c := r.config()
	c.Metrics, c.InstanceID = []string{ExporterOTLP, ExporterPrometheus}, "host:/data/\xff\xfe"
	tel := start(t, c)
	if err := tel.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(in.metrics) == 0 {
		t.Fatal("nothing is exported")
	}
	const want = `service_instance_id="host:/data/�"`
	if body, _ := scrape(t, tel.Handler(), "/metrics", ""); !strings.Contains(body, want) {
		t.Errorf("target_info lacks %s", want)
	}
}
