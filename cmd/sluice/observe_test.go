package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice"
)

// page returns the address of a server's admin pages from its output.
func (p *process) page() string {
	p.t.Helper()
	_, rest, found := strings.Cut(p.out.String(), "http://")
	at, _, _ := strings.Cut(rest, "/")
	if !found {
		p.t.Fatalf("no address of the live page:\n%s", p.out)
	}
	return at
}

func get(t *testing.T, url, accept string) (status int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestServerServesPagesAndMetrics(t *testing.T) {
	p, address := serving(t, t.TempDir(), "--pprof", "--flight-recorder")
	expect(t, address, 0, "sell 3 10 @ 101", "accepted")
	base := "http://" + p.page()
	for _, tt := range []struct {
		path, accept string
		status       int
		want         string
	}{
		{"/", "text/html", 200, `id="n-gate"`},
		{"/", "*/*", 200, "ready;"},
		{"/live.json", "*/*", 200, `"sequenced":`},
		{"/metrics", "text/plain", 200, `sluice_mailbox_capacity{mailbox="gate"} 65536`},
		{"/metrics", "text/plain", 200, "sluice_sequencer_events_total 1"},
		{"/metrics", "text/plain", 200, `version="` + sluice.Version + `"} 1`},
		{"/live.json", "*/*", 200, `"version":"` + sluice.Version},
		{"/docs/docs/operations.md", "*/*", 200, "# Operations"},
		{"/docs/", "*/*", 200, "CHANGELOG.md"},
		{"/readyz", "*/*", 200, "ready"},
		{"/debug/pprof/cmdline", "*/*", 200, "serve"},
		{"/debug/flight", "*/*", 200, "go 1."},
	} {
		if status, text := get(t, base+tt.path, tt.accept); status != tt.status ||
			!strings.Contains(text, tt.want) {
			t.Errorf("GET %s for %s: %d, want %d with %q: %.300s", tt.path, tt.accept, status,
				tt.status, tt.want, text)
		}
	}
	out, problems, code := local("top", "--once", "--admin-address", p.page())
	// The version of the rules; the connection of the client begins, sends an order and ends: up to four events.
	if code != 0 || !regexp.MustCompile(`event [0-4] `).MatchString(out) ||
		!strings.Contains(out, "gate: open to persisted>=1") {
		t.Errorf("top: %d %s\n%s", code, problems, out)
	}
	if _, problems, code := local("top", "--admin-address", p.page()); code != exitUsage ||
		!strings.Contains(problems, "--once") {
		t.Errorf("top without a terminal: %d %s", code, problems)
	}
	taken, other := start(t, "serve", "--data-dir", t.TempDir(), "--listen-tcp", "127.0.0.1:0",
		"--admin-address", p.page()), p.page()
	taken.ends(1, other, "in use")
	p.signal(syscall.SIGTERM)
	p.ends(0, "drained in")
}

// An address beyond loopback may show /metrics to any host, and shows nothing else.
func TestMetricsHaveAnAddressOfTheirOwn(t *testing.T) {
	_, port, _ := net.SplitHostPort(freeAddress(t))
	p, _ := serving(t, t.TempDir(), "--metrics-address", "0.0.0.0:"+port)
	p.out.await(t, "http://0.0.0.0:"+port+"/metrics")
	request := func(path string) (int, string) {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+port+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Host = "sluice-0.sluice:" + port
		answer, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(text)
	}
	if status, text := request("/metrics"); status != 200 || !strings.Contains(text, "sluice_build_info{") {
		t.Errorf("/metrics: %d %.200s", status, text)
	}
	for _, path := range []string{"/", "/connections", "/live.json", "/docs/", "/metrics/", "/debug/pprof/", "/stats"} {
		if status, text := request(path); status != 404 {
			t.Errorf("%s: %d %.200s", path, status, text)
		}
	}
	_, problems, code := local("config", "check", "--metrics-address", p.page(), "--admin-address", p.page(),
		"--data-dir", t.TempDir())
	if code != exitUsage || !strings.Contains(problems, "are one address") {
		t.Errorf("%d %s", code, problems)
	}
}

func TestDisabledPagesAreAbsent(t *testing.T) {
	p, _ := serving(t, t.TempDir())
	for _, path := range []string{"/debug/pprof/", "/debug/flight"} {
		if status, _ := get(t, "http://"+p.page()+path, "*/*"); status != 404 {
			t.Errorf("GET %s: %d", path, status)
		}
	}
	none, _ := serving(t, t.TempDir(), "--admin-address", "")
	if !strings.Contains(none.out.String(), "disabled, --admin-address is empty") {
		t.Errorf("an address although --admin-address is empty:\n%s", none.out)
	}
	if _, problems, code := local("top", "--once", "--admin-address", "127.0.0.1:1"); code != 1 ||
		!strings.Contains(problems, "no server answers at 127.0.0.1:1") {
		t.Errorf("%d %s", code, problems)
	}
	_, clients := serving(t, t.TempDir())
	if _, problems, code := local("top", "--once", "--admin-address", clients); code != 1 ||
		!strings.Contains(problems, "what answers at "+clients+" does not speak HTTP") {
		t.Errorf("%d %s", code, problems)
	}
}

func TestSlowResponseSavesAFlightRecording(t *testing.T) {
	dir := t.TempDir()
	p, address := serving(t, filepath.Join(dir, "data"), "--flight-recorder", "--flight-slow",
		"1us", "--trace-dir", filepath.Join(dir, "traces"))
	expect(t, address, 0, "sell 3 10 @ 101", "accepted")
	p.err.await(t, "go tool trace")
	found, err := filepath.Glob(filepath.Join(dir, "traces", "flight-*.trace"))
	if err != nil || len(found) != 1 {
		t.Errorf("%v %v", found, err)
	}
}

// A collector that accepts connections and never responds must not delay shutdown for long, nor
// make it fail.
func TestHungCollectorDoesNotDelayShutdown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+l.Addr().String())
	t.Setenv("OTEL_METRICS_EXPORTER", "otlp,prometheus")
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	p, address := serving(t, t.TempDir())
	expect(t, address, 0, "sell 3 10 @ 101", "accepted")
	began := time.Now()
	p.signal(syscall.SIGTERM)
	p.ends(0, "drained in", "not everything that was measured was exported")
	if took := time.Since(began); took > patience/2 {
		t.Errorf("shutdown took %v", took)
	}
}

// The rest of top needs a terminal, which script(1) provides.
func TestTopDrawsOnATerminalAndEndsWithQ(t *testing.T) {
	script, err := exec.LookPath("script")
	if err != nil {
		t.Skip("script(1), which provides a terminal, is not installed (Debian: bsdutils)")
	}
	p, _ := serving(t, t.TempDir())
	in, keys := io.Pipe()
	out := newOutput()
	c := exec.Command(script, "-qec", os.Args[0]+" top --admin-address "+p.page(), "/dev/null")
	c.Stdin, c.Stdout = in, out
	c.WaitDelay = patience
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it ends with a killed test
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait() // an error on a second call
	})
	out.await(t, "gate: open")
	if _, err := keys.Write([]byte("q")); err != nil {
		t.Fatal(err)
	}
	keys.Close()
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "\x1b[?1049h") ||
		!strings.HasSuffix(strings.TrimSpace(out.String()), "\x1b[?1049l") {
		t.Errorf("the terminal is not restored: %q", out)
	}
}
