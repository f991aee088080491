package main

import (
	"strings"
	"syscall"
	"testing"

	"sluice/cmd/orderbook"
)

// If a flag and a variable of OpenTelemetry set the same value, the flag wins.
func TestFlagsOverrideVariables(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "localhost")
	t.Setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "0")
	p := start(t, "serve", "--data-dir", t.TempDir(), "--listen-tcp", "127.0.0.1:0")
	p.out.await(t, "kill drains")
	at := p.page()
	if status, text := get(t, "http://"+at+"/metrics", "text/plain"); strings.HasSuffix(at,
		":9464") || status != 200 || !strings.Contains(text, "sluice_gate_pending 0") {
		t.Errorf("the variables name another port; the page is at %s and returns %d %.100s", at,
			status, text)
	}
	p.signal(syscall.SIGTERM)
	p.ends(0, "drained in")

	t.Setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "192.0.2.1") // not an address of this machine: the server would not start
	in := collecting(t, "http/protobuf")
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	p, address := serving(t, t.TempDir(), "--trace-ratio", "0", "--trace-slow", "1h")
	r := trading(t, address, 0)
	r.ids++
	r.command(r.order(r.account, orderbook.Buy, 1))
	r.flush()
	r.settle()
	p.signal(syscall.SIGTERM)
	p.ends(0, "drained in")
	if got, sent := len(in.trees()), in.sum("sluice.response.sent"); got != 0 || sent != 1 {
		t.Errorf("%d traces with --trace-ratio 0, %v responses", got, sent)
	}
}

// A server with a disabled SDK still serves clients and its own pages.
func TestDisabledSDKExportsNothing(t *testing.T) {
	in := collecting(t, "http/protobuf")
	t.Setenv("OTEL_SDK_DISABLED", "true")
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	p, address := serving(t, t.TempDir())
	r := trading(t, address, 0)
	r.rests(3)
	r.settle()
	if status, text := get(t, "http://"+p.page()+"/metrics", "text/plain"); status != 404 ||
		!strings.Contains(text, "OTEL_SDK_DISABLED") {
		t.Errorf("/metrics: %d %s", status, text)
	}
	if status, text := get(t, "http://"+p.page()+"/readyz", "*/*"); status != 200 {
		t.Errorf("/readyz: %d %s", status, text)
	}
	p.signal(syscall.SIGTERM)
	p.ends(0, "drained in")
	if len(in.trees()) != 0 || in.sum("sluice.response.sent") != 0 {
		t.Errorf("%d traces and %v responses are exported", len(in.trees()),
			in.sum("sluice.response.sent"))
	}
}
