package main

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
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

// collector takes what a server exports over OTLP, as the protobuf services on a real socket, and keeps it.
type collector struct {
	metricsrpc.UnimplementedMetricsServiceServer

	mu       sync.Mutex
	last     map[string]*metricspb.Metric // of the newest export, by name; guarded by mu
	spans    []*tracepb.Span              // guarded by mu
	resource []*commonpb.KeyValue         // of the newest export of spans, guarded by mu
}

// spanService keeps the two services apart, whose methods have one name.
type spanService struct {
	tracerpc.UnimplementedTraceServiceServer
	*collector
}

// collecting starts a collector and names it to the servers that are started after it.
func collecting(t *testing.T, protocol string) *collector {
	t.Helper()
	c, address := listening(t, protocol)
	exporting(t, address, protocol)
	return c
}

// listening starts a collector and tells its address.
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
		mux.HandleFunc("/v1/metrics", overHTTP(func() *metricsrpc.ExportMetricsServiceRequest { return new(metricsrpc.ExportMetricsServiceRequest) }, c.Export))
		mux.HandleFunc("/v1/traces", overHTTP(func() *tracerpc.ExportTraceServiceRequest { return new(tracerpc.ExportTraceServiceRequest) }, spanService{collector: c}.Export))
		s := &http.Server{Handler: mux, ReadHeaderTimeout: patience}
		go func() { _ = s.Serve(l) }() // until Close
		t.Cleanup(func() { s.Close() })
	}
	return c, l.Addr().String()
}

// relayed puts the upstream project's collector between the servers that are started after it and a collector of ours. It hands
// each export on before it answers.
func relayed(t *testing.T, protocol string) *collector {
	t.Helper()
	program, err := filepath.Abs("../../bin/otelcol")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("there is no bin/otelcol here: make collector builds the upstream collector")
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

// freeAddress is one that was free a moment ago, for a program that cannot choose a port.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// running starts a program that ends with the test, which tells what it wrote if it failed.
func running(t *testing.T, program string, args ...string) {
	t.Helper()
	log := newOutput()
	c := exec.Command(program, args...)
	c.Stderr = log
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it survives no test that is killed
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

// exporting has the servers that are started after it export to an address, and often.
func exporting(t *testing.T, address, protocol string) {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+address)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
	t.Setenv("OTEL_METRICS_EXPORTER", "otlp,prometheus")
	t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "200")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
}

// overHTTP answers a service's one method as OTLP over HTTP has it.
func overHTTP[Q, A proto.Message](request func() Q, method func(context.Context, Q) (A, error)) http.HandlerFunc {
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
		a, _ := method(r.Context(), q) // none of ours fails
		out, _ := proto.Marshal(a)
		w.Header().Set("Content-Type", "application/x-protobuf")
		_, _ = w.Write(out)
	}
}

// Export takes metrics.
func (c *collector) Export(_ context.Context, q *metricsrpc.ExportMetricsServiceRequest) (*metricsrpc.ExportMetricsServiceResponse, error) {
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

// Export takes spans.
func (s spanService) Export(_ context.Context, q *tracerpc.ExportTraceServiceRequest) (*tracerpc.ExportTraceServiceResponse, error) {
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

// sum adds up the points of a counter or gauge in the newest export; by is a label and the value it must have, or empty.
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

// count is how many values a histogram of the newest export holds.
func (c *collector) count(name string) (n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.last[name].GetExponentialHistogram().GetDataPoints() {
		n += p.Count
	}
	return n
}

// trees are the spans so far, by trace.
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

// until waits for what another process or goroutine does; check says what is missing.
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
