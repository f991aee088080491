package otel

import (
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	metricsrpc "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracerpc "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// receiver is an OTLP collector: the protobuf services over a real socket. It keeps the exports.
type receiver struct {
	metricsrpc.UnimplementedMetricsServiceServer
	addr string

	mu       sync.Mutex
	metrics  []*metricspb.ResourceMetrics
	spans    []*tracepb.Span
	resource *resourcepb.Resource
	zipped   bool
	token    []string // "authorization" of each export
	requests []int    // spans of each export
}

// traceService is separate from receiver because both services have a method Export.
type traceService struct {
	tracerpc.UnimplementedTraceServiceServer
	r *receiver
}

// receive starts a receiver and points the OTLP exporters at it.
func receive(t testing.TB, protocol string) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{addr: l.Addr().String()}
	if protocol == ProtocolGRPC {
		s := grpc.NewServer()
		metricsrpc.RegisterMetricsServiceServer(s, r)
		tracerpc.RegisterTraceServiceServer(s, traceService{r: r})
		go s.Serve(l)
		t.Cleanup(s.Stop)
	} else {
		s := &http.Server{Handler: r, ReadHeaderTimeout: time.Second}
		go s.Serve(l)
		t.Cleanup(func() { s.Close() })
	}
	setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+r.addr)
	setenv(t, "OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
	return r
}

func setenv(t testing.TB, name, value string) {
	t.(interface{ Setenv(string, string) }).Setenv(name, value)
}

// Export receives metrics over gRPC.
func (r *receiver) Export(ctx context.Context,
	q *metricsrpc.ExportMetricsServiceRequest) (*metricsrpc.ExportMetricsServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		r.token = append(r.token, md.Get("authorization")...)
	}
	r.metrics = append(r.metrics, q.ResourceMetrics...)
	return &metricsrpc.ExportMetricsServiceResponse{}, nil
}

// Export receives spans over gRPC.
func (s traceService) Export(_ context.Context,
	q *tracerpc.ExportTraceServiceRequest) (*tracerpc.ExportTraceServiceResponse, error) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	for _, rs := range q.ResourceSpans {
		s.r.resource = rs.Resource
		s.r.requests = append(s.r.requests, len(rs.ScopeSpans[0].Spans))
		for _, ss := range rs.ScopeSpans {
			s.r.spans = append(s.r.spans, ss.Spans...)
		}
	}
	return &tracerpc.ExportTraceServiceResponse{}, nil
}

// ServeHTTP receives metrics and spans over HTTP.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body := io.Reader(req.Body)
	if token := req.Header.Get("Authorization"); token != "" {
		r.mu.Lock()
		r.token = append(r.token, token)
		r.mu.Unlock()
	}
	if req.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(req.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		r.zipped = true
		r.mu.Unlock()
		body = z
	}
	b, err := io.ReadAll(body)
	var answer proto.Message
	switch {
	case err != nil:
	case req.URL.Path == "/v1/metrics":
		q := new(metricsrpc.ExportMetricsServiceRequest)
		if err = proto.Unmarshal(b, q); err == nil {
			answer, err = r.Export(req.Context(), q)
		}
	case req.URL.Path == "/v1/traces":
		q := new(tracerpc.ExportTraceServiceRequest)
		if err = proto.Unmarshal(b, q); err == nil {
			answer, err = traceService{r: r}.Export(req.Context(), q)
		}
	default:
		http.NotFound(w, req)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out, _ := proto.Marshal(answer)
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.Write(out)
}

// points returns a metric of all exports, in their order.
func (r *receiver) points(name string) (exports []*metricspb.Metric) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rm := range r.metrics {
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				if m.Name == name {
					exports = append(exports, m)
				}
			}
		}
	}
	return exports
}

// sum adds up the integer points of one export.
func sum(m *metricspb.Metric) (n int64) {
	for _, p := range m.GetSum().GetDataPoints() {
		n += p.GetAsInt()
	}
	return n
}

// trees returns the spans by trace id.
func (r *receiver) trees() map[string][]*tracepb.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string][]*tracepb.Span)
	for _, s := range r.spans {
		all[string(s.TraceId)] = append(all[string(s.TraceId)], s)
	}
	return all
}

func attr(kv []*commonpb.KeyValue, key string) *commonpb.AnyValue {
	for _, a := range kv {
		if a.Key == key {
			return a.Value
		}
	}
	return nil
}
