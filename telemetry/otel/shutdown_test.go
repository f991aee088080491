package otel

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"golang.org/x/sys/unix"

	"sluice/telemetry"
)

// badCollectors are the ways in which a collector can fail; each function returns an endpoint.
func badCollectors() map[string]func(t *testing.T) string {
	return map[string]func(t *testing.T) string{
		"refuses": func(t *testing.T) string {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(fd) }) // until then the port is taken, and refuses connections
			if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
				t.Fatal(err)
			}
			at, err := unix.Getsockname(fd)
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("http://127.0.0.1:%d", at.(*unix.SockaddrInet4).Port)
		},
		"hangs": func(t *testing.T) string {
			l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, but nothing reads
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			return "http://" + l.Addr().String()
		},
		"is overloaded": func(t *testing.T) string {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
			t.Cleanup(s.Close)
			return s.URL
		},
	}
}

// If a collector fails, only drop counters rise: boxes accept traces, collections and scrapes work,
// memory is bounded by the boxes and one queue, and Shutdown returns within its timeout.
func TestFailingCollectorOnlyRaisesCounters(t *testing.T) {
	for name, endpoint := range badCollectors() {
		for _, protocol := range []string{ProtocolHTTP, ProtocolGRPC} {
			t.Run("collector "+name+", "+protocol, func(t *testing.T) {
				t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint(t))
				t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
				t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "32")
				before := runtime.NumGoroutine()
				r := newRig()
				c := r.config()
				c.Metrics, c.Traces = []string{ExporterPrometheus, ExporterOTLP}, ExporterOTLP
				c.MetricsProtocol, c.TracesProtocol = protocol, protocol
				c.TracesPerSecond, c.ExportEvery, c.ShutdownTimeout = 100_000, 20*time.Millisecond, 800*time.Millisecond
				tel, err := Start(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				put := func(n int) {
					for i := range n {
						rec := sampled(r, uint64(i))
						r.boxes[0].TryPut(&rec)
					}
				}
				put(3000) // more than the box holds, so that it rejects some in any case
				late, begin := lateness(), time.Now()
				body, _ := scrape(t, tel.Handler(), "/metrics", "")
				if d, late := time.Since(begin), late(); d > time.Second+late {
					t.Errorf("a scrape took %v, on a machine with %v of delays", d, late)
				}
				if line(body, "sluice_trace_dropped_total{reason=\"mailbox\"}") == "" {
					t.Error("no counter of rejected traces")
				}
				late, begin = lateness(), time.Now()
				err = tel.Shutdown(context.Background())
				if d, late := time.Since(begin), late(); d > c.ShutdownTimeout+2*time.Second+late {
					t.Errorf("shutdown took %v with a timeout of %v, on a machine with %v of delays", d, c.ShutdownTimeout, late)
				}
				if err == nil {
					t.Error("nothing was exported and Shutdown returned no error")
				}
				checkLedger(t, tel, r, 3000)
				goroutinesEnd(t, before)
			})
		}
	}
}

// lateness adds up the delays of a timer of 10 ms, as a measure of how busy the machine is. The returned
// function ends the measurement.
func lateness() func() time.Duration {
	const every = 10 * time.Millisecond
	quit, total := make(chan struct{}), make(chan time.Duration)
	go func() {
		sum, set := time.Duration(0), time.Now()
		timer := time.NewTimer(every)
		defer timer.Stop()
		for {
			select {
			case <-timer.C:
				sum += max(time.Since(set)-every, 0)
				set = time.Now()
				timer.Reset(every)
			case <-quit:
				total <- sum + max(time.Since(set)-every, 0)
				return
			}
		}
	}()
	return func() time.Duration { close(quit); return <-total }
}

// checkLedger checks that every sampled response was made a trace or is counted as dropped. Traces whose
// export failed are counted in both.
func checkLedger(t *testing.T, tel *Telemetry, r *rig, put uint64) {
	t.Helper()
	s := tel.src.self
	got := s.sampled[telemetry.TraceReasonRatio].Load() + s.rate.Load() + r.boxes[0].Refused()
	if got != put {
		t.Errorf("%d sampled + %d over the rate + %d rejected by the box = %d, want %d",
			s.sampled[telemetry.TraceReasonRatio].Load(), s.rate.Load(), r.boxes[0].Refused(), got, put)
	}
	if s.exporter.Load() == 0 {
		t.Error("no trace is counted as lost by the exporter")
	}
	if s.metricErrors.Load() == 0 {
		t.Error("no failed export of metrics is counted")
	}
}

// goroutinesEnd waits until the goroutines of telemetry and the SDK have ended. Those of idle
// connections end by themselves.
func goroutinesEnd(t *testing.T, before int) {
	t.Helper()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	deadline := time.After(10 * time.Second)
	for {
		stacks := make([]byte, 1<<20)
		all := string(stacks[:runtime.Stack(stacks, true)])
		if !strings.Contains(all, "sluice/telemetry/otel.(*drainer)") &&
			!strings.Contains(all, "batchSpanProcessor") && !strings.Contains(all,
			"PeriodicReader") && !strings.Contains(all, "otel.(*Telemetry).collect") {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("goroutines still run (%d before the test):\n%s", before, all)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestShutdownHonorsEarlierDeadline(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", badCollectors()["hangs"](t))
	r := newRig()
	c := r.config()
	c.Metrics, c.Traces, c.ShutdownTimeout = []string{ExporterOTLP}, ExporterOTLP, time.Hour
	tel, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	late, begin := lateness(), time.Now()
	first := tel.Shutdown(ctx)
	if d, late := time.Since(begin), late(); d > 3*time.Second+late {
		t.Errorf("took %v, on a machine with %v of delays", d, late)
	}
	if again := tel.Shutdown(context.Background()); first == nil || again != first {
		t.Errorf("first %v, again %v", first, again)
	}
}

// Shutdown exports the records in the boxes and the samples of parked actors.
func TestShutdownExportsRemainingData(t *testing.T) {
	in := receive(t, ProtocolGRPC)
	r := newRig()
	c := r.config()
	c.Metrics, c.Traces, c.MetricsProtocol, c.TracesProtocol = []string{ExporterOTLP}, ExporterOTLP, ProtocolGRPC, ProtocolGRPC
	c.ExportEvery = time.Hour
	tel, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := tel.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(50) {
		rec := sampled(r, i)
		r.boxes[1].TryPut(&rec)
	}
	lateHandOver(r)
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(in.trees()); got != 50 {
		t.Errorf("%d traces, want 50", got)
	}
	all := in.points("sluice.response.sent")
	if got := sum(all[len(all)-1]); got != 3 {
		t.Errorf("sent %d, want 3: two from the block handed over late, one from the parked one", got)
	}
}

// lateHandOver leaves an actor with two blocks: one handed over after the collection had timed out,
// and one parked.
func lateHandOver(r *rig) {
	a := r.actors["egress 0"]
	a.Unpark()
	a.B.C[telemetry.EgressFramesSent] = 2
	r.collector.Collect(0) // the actor runs and does not answer
	a.Poll()               // now it does
	a.B.C[telemetry.EgressFramesSent] = 1
	a.Park()
}

// What the SDK logs by itself goes to the log of the configuration, not to standard error.
func TestLinesOfTheSDKGoToTheLog(t *testing.T) {
	var text bytes.Buffer
	c := newRig().config()
	c.Metrics, c.Log = []string{ExporterPrometheus}, slog.New(slog.NewJSONHandler(&text, nil))
	tel, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tel.Shutdown(context.Background()) })
	metric.NewView(metric.Instrument{}, metric.Stream{}) // which the SDK complains about
	if !strings.Contains(text.String(), `"msg":"dropping view"`) {
		t.Errorf("the log has %q", text.String())
	}
}
