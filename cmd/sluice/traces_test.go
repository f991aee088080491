package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"sluice/cmd/orderbook"
	"sluice/transport/wire"
)

// stages are the spans below the root, in the order that a response passes them.
const stages = "match handoff gate encode queue batch send"

// tracing returns the trace context that a client sends with a request: sampled, with ids that
// identify the request.
func tracing(number uint64) (c [wire.TraceSize]byte) {
	copy(c[:], "a client's trace") // 16 bytes
	binary.BigEndian.PutUint64(c[8:], number)
	binary.BigEndian.PutUint64(c[16:], ^number)
	c[24] = 1
	return c
}

// A server configured by the variables of OpenTelemetry exports one complete tree of spans for each
// order with a sampled context, and none for the others, to the services of this test and to the
// upstream collector.
func TestCollectorReceivesCompleteTraces(t *testing.T) {
	for _, tt := range []struct {
		name, protocol string
		start          func(t *testing.T, protocol string) *collector
	}{
		{"http", "http/protobuf", collecting},
		{"grpc", "grpc", collecting},
		{"http upstream", "http/protobuf", relayed},
		{"grpc upstream", "grpc", relayed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := tt.start(t, tt.protocol)
			t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
			dir := t.TempDir()
			p, address := serving(t, dir, "--trace-ratio", "0", "--trace-slow", "1h")
			const sampled = 40
			r := trading(t, address, 0)
			for i := range uint64(sampled) {
				r.ids++
				r.command(r.order(r.account, orderbook.Buy, 1), tracing(i))
				r.ids++
				r.command(r.order(r.account, orderbook.Buy, 1))
				r.flush()
				if i%4 == 0 { // the other responses share batches
					r.settle()
				}
			}
			r.settle()
			until(t, "the traces", func() error {
				if n := len(in.trees()); n < sampled {
					return fmt.Errorf("%d of %d arrived", n, sampled)
				}
				return nil
			})
			p.signal(syscall.SIGTERM)
			p.ends(0, "drained in")
			trees := in.trees()
			if len(trees) != sampled {
				t.Errorf("%d traces, want %d", len(trees), sampled)
			}
			waited := 0
			for i := range uint64(sampled) {
				context := tracing(i)
				waited += wholeTree(t, trees[string(context[:16])], context)
			}
			t.Logf("%d of %d waited for the journal", waited, sampled)
			if got := in.sum("sluice.trace.sampled", "reason", "parent"); got != sampled {
				t.Errorf("sluice.trace.sampled of parents is %v, want %d", got, sampled)
			}
			if got, want := in.sum("sluice.response.sent"), float64(2*sampled); got != want ||
				in.count("sluice.response.duration") != 2*sampled {
				t.Errorf("the last export: %v sent, %d measured, want %v", got,
					in.count("sluice.response.duration"), want)
			}
			resourceOf(t, in, dir)
		})
	}
}

// wholeTree checks the trace of one response. It returns 1 if the response waited for the journal.
func wholeTree(t *testing.T, spans []*tracepb.Span, context [wire.TraceSize]byte) (waited int) {
	t.Helper()
	i := slices.IndexFunc(spans, func(s *tracepb.Span) bool { return s.Name == "sluice.response" })
	if i < 0 {
		t.Fatalf("trace %x has no root: %v", context[:16], spans)
	}
	root, below := spans[i], map[string]*tracepb.Span{}
	for _, s := range spans {
		below[s.Name] = s
	}
	if len(below) != len(spans) {
		t.Errorf("a span occurs twice: %v", spans)
	}
	if !bytes.Equal(root.ParentSpanId, context[16:24]) || root.Kind != tracepb.Span_SPAN_KIND_SERVER {
		t.Errorf("the root's parent is %x, want the client's span %x; kind %v", root.ParentSpanId,
			context[16:24], root.Kind)
	}
	at, whole := root.StartTimeUnixNano, uint64(0)
	for _, name := range strings.Fields(stages) {
		s := below[name]
		if s == nil {
			t.Fatalf("no span %s in %v", name, spans)
		}
		if !bytes.Equal(s.ParentSpanId, root.SpanId) || s.StartTimeUnixNano != at {
			t.Errorf("%s begins at %d below %x, want %d below %x", name, s.StartTimeUnixNano,
				s.ParentSpanId, at, root.SpanId)
		}
		whole, at = whole+s.EndTimeUnixNano-s.StartTimeUnixNano, s.EndTimeUnixNano
	}
	if took := root.EndTimeUnixNano - root.StartTimeUnixNano; whole != took {
		t.Errorf("the stages take %d ns, the root %d", whole, took)
	}
	for name, s := range below {
		if strings.HasPrefix(name, "gate.") {
			gate := below["gate"]
			if !bytes.Equal(s.ParentSpanId, gate.SpanId) ||
				s.StartTimeUnixNano < gate.StartTimeUnixNano || s.EndTimeUnixNano > gate.EndTimeUnixNano {
				t.Errorf("%s is not within the gate: %v, %v", name, s, gate)
			}
			waited = 1
		}
	}
	for key, want := range map[string]string{"sluice.ack_policy": "local",
		"sluice.response.type": "report", "sluice.sampling.reason": "parent"} {
		if got := attribute(root.Attributes, key).GetStringValue(); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if got := attribute(root.Attributes, "sluice.response.size").GetIntValue(); got < 32 {
		t.Errorf("sluice.response.size is %d", got)
	}
	return waited
}

func resourceOf(t *testing.T, in *collector, dir string) {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for key, want := range map[string]string{
		"service.name": "sluice", "service.namespace": "sluice", "deployment.environment.name": "test",
		"service.instance.id": host + ":" + dir, "sluice.cluster.id": host + ":" + dir,
	} {
		if got := attribute(in.resource, key).GetStringValue(); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

// A swapped policy is in the traces of the responses that it released, with the blocker of the
// gate.
func TestTracesNameThePolicyInForce(t *testing.T) {
	in := collecting(t, "http/protobuf")
	socket := filepath.Join(t.TempDir(), "admin")
	_, address := serving(t, t.TempDir(), "--admin-socket", socket, "--trace-ratio", "0",
		"--trace-slow", "1h")
	operate(t, socket, "--force", "policy", "hybrid")
	r := trading(t, address, 0)
	r.ids++
	r.command(r.order(r.account, orderbook.Buy, 1), tracing(7))
	r.flush()
	until(t, "the gate to wait", func() error {
		if out, _, _ := local("admin", "--admin-socket", socket, "status"); !strings.Contains(out,
			"gate waiting") && !strings.Contains(out, "gate WEDGED") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	operate(t, socket, "policy", "persisted>=1 && in_memory>=1")
	r.settle()
	var spans []*tracepb.Span
	i := -1
	until(t, "the root of the trace", func() error { // it may come in a later batch than its parts
		context := tracing(7)
		spans = in.trees()[string(context[:16])]
		i = slices.IndexFunc(spans, func(s *tracepb.Span) bool { return s.Name == "sluice.response" })
		if i < 0 {
			return fmt.Errorf("%d spans without it", len(spans))
		}
		return nil
	})
	if got := attribute(spans[i].Attributes,
		"sluice.ack_policy").GetStringValue(); got != "persisted>=1 && in_memory>=1" {
		t.Errorf("sluice.ack_policy is %q", got)
	}
	if got := attribute(spans[i].Attributes,
		"sluice.gate.blocker").GetStringValue(); got == "none" || got == "" {
		t.Errorf("sluice.gate.blocker is %q, but the response waited", got)
	}
}

// operate runs an operator's command.
func operate(t *testing.T, socket string, words ...string) {
	t.Helper()
	if out, problems, code := local(append([]string{"admin", "--admin-socket", socket},
		words...)...); code != 0 {
		t.Fatalf("%v: exit code %d: %s%s", words, code, out, problems)
	}
}
