package main

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	metricsrpc "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracerpc "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// collector receives the OTLP exports of a server on a real socket, with the protobuf services, and
// keeps them.
type collector struct {
	metricsrpc.UnimplementedMetricsServiceServer

	mu       sync.Mutex
	last     map[string]*metricspb.Metric // metrics of the newest export, by name; guarded by mu
	spans    []*tracepb.Span              // guarded by mu
	resource []*commonpb.KeyValue         // resource of the newest export of spans, guarded by mu
}

// spanService separates the two services, whose methods have the same name.
type spanService struct {
	tracerpc.UnimplementedTraceServiceServer
	*collector
}

// collecting starts a collector for the servers that are started after it.
func collecting(t *testing.T, protocol string) *collector {
	t.Helper()
	c, address := listening(t, protocol)
	exporting(t, address, protocol)
	return c
}

// listening starts a collector and returns its address.
func listening(t *testing.T, protocol string) (_ *collector, address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{last: map[string]*metricspb.Metric{}}
	if protocol == "grpc" {
		s := grpc.NewServer()
		metricsrpc.RegisterMetricsServiceServer(s, c)
		tracerpc.RegisterTraceServiceServer(s, spanService{collector: c})
		go func() { _ = s.Serve(l) }() // until Stop
		t.Cleanup(s.Stop)
	} else {
		mux := http.NewServeMux()
		mux.HandleFunc("/v1/metrics",
			overHTTP(func() *metricsrpc.ExportMetricsServiceRequest { return new(metricsrpc.ExportMetricsServiceRequest) }, c.Export))
		mux.HandleFunc("/v1/traces",
			overHTTP(func() *tracerpc.ExportTraceServiceRequest { return new(tracerpc.ExportTraceServiceRequest) }, spanService{collector: c}.Export))
		s := &http.Server{Handler: mux, ReadHeaderTimeout: patience}
		go func() { _ = s.Serve(l) }() // until Close
		t.Cleanup(func() { s.Close() })
	}
	return c, l.Addr().String()
}

// relayed starts the upstream collector between the servers that are started after it and a
// collector of this test. It forwards each export before it responds.
func relayed(t *testing.T, protocol string) *collector {
	t.Helper()
	program, err := filepath.Abs("../../bin/otelcol")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("bin/otelcol is missing: make collector builds the upstream collector")
	}
	c, behind := listening(t, "http/protobuf")
	name := map[string]string{"http/protobuf": "http", "grpc": "grpc"}[protocol]
	address := freeAddress(t)
	config := filepath.Join(t.TempDir(), "otelcol.yml")
	text := fmt.Sprintf(`receivers: {otlp: {protocols: {%s: {endpoint: %q}}}}
exporters: {otlphttp: {endpoint: "http://%s", sending_queue: {enabled: false}}}
service:
  pipelines:
    traces: {receivers: [otlp], exporters: [otlphttp]}
    metrics: {receivers: [otlp], exporters: [otlphttp]}
`, name, address, behind)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	running(t, program, "--config="+config)
	until(t, "the upstream collector", func() error {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		if conn.LocalAddr().String() == address {
			return errors.New("the port that was dialled was given to the dialler: connected to itself")
		}
		return nil
	})
	exporting(t, address, protocol)
	return c
}

// freeAddress returns an address that is probably free, for a program that cannot choose a port. Its
// port is none of those that the kernel chooses, from 32768 on, which it may choose twice.
func freeAddress(t *testing.T) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

// running starts a program that ends with the test. A failed test logs its output.
func running(t *testing.T, program string, args ...string) {
	t.Helper()
	log := newOutput()
	c := exec.Command(program, args...)
	c.Stderr = log
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it ends with a killed test
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", program, log)
		}
	})
}

// exporting lets the servers that are started after it export to an address, at short intervals.
func exporting(t *testing.T, address, protocol string) {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+address)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
	t.Setenv("OTEL_METRICS_EXPORTER", "otlp,prometheus")
	t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "200")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
}

// overHTTP serves the only method of a service as OTLP over HTTP.
func overHTTP[Q, A proto.Message](request func() Q,
	method func(context.Context, Q) (A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			body = z
		}
		text, err := io.ReadAll(body)
		q := request()
		if err == nil {
			err = proto.Unmarshal(text, q)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a, _ := method(r.Context(), q) // no method of this test fails
		out, _ := proto.Marshal(a)
		w.Header().Set("Content-Type", "application/x-protobuf")
		_, _ = w.Write(out)
	}
}

// Export receives metrics.
func (c *collector) Export(_ context.Context,
	q *metricsrpc.ExportMetricsServiceRequest) (*metricsrpc.ExportMetricsServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rm := range q.ResourceMetrics {
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				c.last[m.Name] = m
			}
		}
	}
	return new(metricsrpc.ExportMetricsServiceResponse), nil
}

// Export receives spans.
func (s spanService) Export(_ context.Context,
	q *tracerpc.ExportTraceServiceRequest) (*tracerpc.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rs := range q.ResourceSpans {
		s.resource = rs.Resource.GetAttributes()
		for _, ss := range rs.ScopeSpans {
			s.spans = append(s.spans, ss.Spans...)
		}
	}
	return new(tracerpc.ExportTraceServiceResponse), nil
}

// sum adds up the points of a counter or gauge in the newest export. by is a label and its wanted
// value, or empty.
func (c *collector) sum(name string, by ...string) (total float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.last[name]
	for _, p := range append(m.GetSum().GetDataPoints(), m.GetGauge().GetDataPoints()...) {
		if len(by) == 0 || attribute(p.Attributes, by[0]).GetStringValue() == by[1] {
			total += float64(p.GetAsInt()) + p.GetAsDouble()
		}
	}
	return total
}

// count returns the number of values of a histogram in the newest export.
func (c *collector) count(name string) (n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.last[name].GetExponentialHistogram().GetDataPoints() {
		n += p.Count
	}
	return n
}

// trees returns all spans, by trace.
func (c *collector) trees() map[string][]*tracepb.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[string][]*tracepb.Span)
	for _, s := range c.spans {
		all[string(s.TraceId)] = append(all[string(s.TraceId)], s)
	}
	return all
}

func attribute(all []*commonpb.KeyValue, key string) *commonpb.AnyValue {
	for _, a := range all {
		if a.Key == key {
			return a.Value
		}
	}
	return nil
}

// until waits until check returns nil.
func until(t *testing.T, what string, check func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited %v for %s: %v", patience, what, err)
		}
	}
}
