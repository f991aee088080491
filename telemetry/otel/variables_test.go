package otel

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"

	"sluice/telemetry"
)

// The SDK and its exporters read some variables themselves. Options that this package sets would
// override them, so each variable that docs/telemetry.md lists is tested against a receiver.

func pushing(t *testing.T) (*rig, *Telemetry) {
	t.Helper()
	r := newRig()
	c := r.config()
	c.Metrics, c.Traces = []string{ExporterOTLP}, ExporterOTLP
	c, err := FromEnv(c)
	if err != nil {
		t.Fatal(err)
	}
	return r, start(t, c)
}

func TestHeadersAreSentWithEveryExport(t *testing.T) {
	for _, protocol := range []string{ProtocolHTTP, ProtocolGRPC} {
		t.Run(protocol, func(t *testing.T) {
			in := receive(t, protocol)
			t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20key")
			_, tel := pushing(t)
			if err := tel.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(in.token) == 0 ||
				slices.ContainsFunc(in.token, func(s string) bool { return s != "Bearer key" }) {
				t.Errorf("authorization %q", in.token)
			}
		})
	}
}

func TestEachSignalGoesToItsEndpoint(t *testing.T) {
	metrics, traces := receive(t, ProtocolHTTP), receive(t, ProtocolHTTP)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://"+metrics.addr+"/v1/metrics")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"+traces.addr+"/v1/traces")
	r, tel := pushing(t)
	rec := sampled(r, 1)
	r.boxes[0].TryPut(&rec)
	if err := tel.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(metrics.metrics) == 0 || len(metrics.spans) != 0 || len(traces.metrics) != 0 ||
		len(traces.spans) == 0 {
		t.Errorf("%d, %d exports of metrics, %d, %d spans", len(metrics.metrics),
			len(traces.metrics), len(metrics.spans), len(traces.spans))
	}
}

// identity returns a key and a self-signed certificate, also as files.
func identity(t *testing.T) (pair tls.Certificate, certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IPAddresses: nil, DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	if pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	certificate, key = filepath.Join(t.TempDir(), "certificate.pem"), filepath.Join(t.TempDir(),
		"key.pem")
	for name, text := range map[string][]byte{certificate: certPEM, key: keyPEM} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return pair, certificate, key
}

// The exporter and the collector present certificates. An exporter without one is rejected.
func TestCertificatesAreUsed(t *testing.T) {
	own, ownFile, _ := identity(t)
	client, clientFile, clientKey := identity(t)
	leaf, err := x509.ParseCertificate(client.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(leaf)
	for _, shown := range []bool{true, false} {
		in := new(receiver)
		s := httptest.NewUnstartedServer(in)
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // would contain the rejected client
		s.TLS = &tls.Config{Certificates: []tls.Certificate{own},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted}
		s.StartTLS()
		defer s.Close()
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", strings.Replace(s.URL, "127.0.0.1", "localhost", 1))
		t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", ownFile)
		t.Setenv("OTEL_METRIC_EXPORT_TIMEOUT", "2000")
		if shown {
			t.Setenv("OTEL_METRIC_EXPORT_TIMEOUT", "60000")
			t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", clientFile)
			t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", clientKey)
		} else {
			os.Unsetenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")
			os.Unsetenv("OTEL_EXPORTER_OTLP_CLIENT_KEY")
		}
		_, tel := pushing(t)
		err := tel.push.ForceFlush(t.Context())
		if got := len(in.points("sluice.response.sent")) > 0; got != shown || (err == nil) != shown {
			t.Errorf("certificate presented: %v, exported: %v, %v", shown, got, err)
		}
	}
}

// For an endpoint without a scheme, gRPC uses TLS unless the variable is set.
func TestInsecureVariableIsHonored(t *testing.T) {
	in := receive(t, ProtocolGRPC)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "//"+in.addr)
	t.Setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
	_, tel := pushing(t)
	if err := tel.Flush(t.Context()); err != nil || len(in.metrics) == 0 {
		t.Errorf("%d exports, %v", len(in.metrics), err)
	}
}

// The defaults are a timeout of 30 s and an interval of 10 s.
func TestExportIntervalAndTimeoutVariablesAreHonored(t *testing.T) {
	t.Setenv("OTEL_METRIC_EXPORT_TIMEOUT", "50")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", badCollectors()["hangs"](t))
	_, tel := pushing(t)
	began := time.Now()
	if err := tel.push.ForceFlush(t.Context()); err == nil || time.Since(began) > 20*time.Second {
		t.Errorf("an export to a collector that hangs ended after %v: %v", time.Since(began), err)
	}

	in := receive(t, ProtocolHTTP)
	t.Setenv("OTEL_METRIC_EXPORT_TIMEOUT", "")
	t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "20")
	pushing(t)
	deadline := time.After(30 * time.Second)
	for len(in.points("sluice.response.sent")) < 5 {
		select {
		case <-deadline:
			t.Fatalf("%d exports", len(in.points("sluice.response.sent")))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestSpanVariablesAreHonored(t *testing.T) {
	t.Setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "3")
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
	in, _ := traced(t, ProtocolHTTP, nil,
		func(r *rig) []telemetry.TraceRec { return []telemetry.TraceRec{sampled(r, 1)} })
	if n := len(named(in.spans, "sluice.response").Attributes); n != 3 {
		t.Errorf("the root has %d attributes", n)
	}
	if len(in.requests) < 5 || slices.Max(in.requests) > 2 {
		t.Errorf("exports of %v spans", in.requests)
	}
}

// The pipeline samples. If the SDK also applied the variable, it would drop traces of sampled parents
// and slow responses.
func TestSamplerVariableDoesNotDropSampledTraces(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	in, _ := traced(t, ProtocolHTTP, nil, func(r *rig) []telemetry.TraceRec {
		rec := sampled(r, 1)
		rec.Reason = telemetry.TraceReasonSlow
		return []telemetry.TraceRec{rec}
	})
	if len(in.trees()) != 1 {
		t.Errorf("%d traces", len(in.trees()))
	}
}

func TestExemplarFilterDisablesExemplars(t *testing.T) {
	for _, filter := range []string{"", "always_off"} {
		t.Setenv("OTEL_METRICS_EXEMPLAR_FILTER", filter)
		_, tel := traced(t, ProtocolHTTP, func(c *Config) {
			var err error
			if *c, err = FromEnv(*c); err != nil {
				t.Fatal(err)
			}
		}, func(r *rig) []telemetry.TraceRec {
			rec := sampled(r, 77)
			r.record("egress 0", func(b *telemetry.Block) {
				b.H[telemetry.StageWhole].Record(uint64(rec.AfterNanos[telemetry.PointCompleted]))
			})
			return []telemetry.TraceRec{rec}
		})
		body, _ := scrape(t, tel.Handler(), "/metrics", "application/openmetrics-text;version=1.0.0")
		if got, want := strings.Contains(body, "trace_id="), filter == ""; got != want {
			t.Errorf("filter %q: exemplars %v", filter, got)
		}
	}
}

func TestSDKMetricsAreExportedOnRequest(t *testing.T) {
	in := receive(t, ProtocolHTTP)
	t.Setenv("OTEL_GO_X_OBSERVABILITY", "true")
	before := otel.GetMeterProvider()
	t.Cleanup(func() { otel.SetMeterProvider(before) })
	r, tel := pushing(t)
	for i := range uint64(3) {
		rec := sampled(r, i)
		r.boxes[0].TryPut(&rec)
	}
	if err := tel.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := in.points("otel.sdk.processor.span.processed")
	if len(spans) == 0 || sum(spans[len(spans)-1]) != int64(len(in.spans)) {
		t.Errorf("the SDK counts %v, want %d spans", spans, len(in.spans))
	}
}
