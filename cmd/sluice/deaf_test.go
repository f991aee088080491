package main

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"
)

// deafCollectors are the ways in which a collector can fail. Each returns an address.
func deafCollectors(t *testing.T) map[string]func() string {
	listening := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	return map[string]func() string{
		"refuses": func() string { return freeAddress(t) },
		// The kernel accepts connections, but no process reads.
		"hangs": func() string { return listening().Addr().String() },
		"answers after 5 s": func() string {
			l, quit := listening(), make(chan struct{})
			s := &http.Server{ReadHeaderTimeout: patience,
				Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
					late := time.NewTimer(5 * time.Second)
					defer late.Stop()
					select {
					case <-late.C:
					case <-quit:
					}
				})}
			go func() { _ = s.Serve(l) }() // until Close
			t.Cleanup(func() { close(quit); s.Close() })
			return l.Addr().String()
		},
	}
}

// Every response is traced, but the collector does not accept the traces. Clients are not affected,
// because no response waits for the collector. The round trips are logged next to those of a server
// that exports nothing, measured in turns. The data kept for the collector is bounded, so more
// responses need no more memory or goroutines. Shutdown is in time.
func TestUnresponsiveCollectorAffectsOnlyCounters(t *testing.T) {
	for name, address := range deafCollectors(t) {
		t.Run(name, func(t *testing.T) {
			_, mute := serving(t, t.TempDir())
			exporting(t, address(), "http/protobuf")
			t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
			p, at := serving(t, t.TempDir(), "--pprof", "--trace-max-per-sec", "1000000")
			r, other := trading(t, at, 0), trading(t, mute, 0)
			round := func(n int) (took, without []time.Duration) {
				for range n {
					for to, client := range map[*[]time.Duration]*trader{&took: r, &without: other} {
						began := time.Now()
						client.meets(50)
						client.settle()
						*to = append(*to, time.Since(began))
					}
				}
				slices.Sort(took)
				slices.Sort(without)
				return took, without
			}
			until(t, "traces that are not taken", func() error {
				round(10)
				if n := p.lost(); n < 4096 { // the capacity of the queue of the SDK
					return fmt.Errorf("%v traces are lost", n)
				}
				return nil
			})
			heap, goroutines, lost := p.heap(), p.number("go_goroutines"), p.lost()
			took, without := round(200)
			if median := took[len(took)/2]; median > time.Second { // expected are milliseconds; waiting for the collector takes more than 5 s
				t.Errorf("the median round takes %v: it waits for the collector", median)
			}
			grown, more, since := p.heap()-heap, p.number("go_goroutines")-goroutines, p.lost()-lost
			t.Logf("%d responses; %.0f traces lost in the latter half; the heap holds %.1f MiB "+
				"and grew by %.2f MiB; %+.0f goroutines; median round %v, without export %v",
				r.frames, since, heap/(1<<20), grown/(1<<20), more, took[len(took)/2], without[len(without)/2])
			const queue = 16 << 20 // more than a full queue of the SDK needs; the lost traces would need ten times that
			if grown > queue || more > 16 || since == 0 {
				t.Errorf("the heap grew by %.0f B, there are %+.0f goroutines, %.0f traces are lost", grown, more, since)
			}
			began := time.Now()
			p.signal(syscall.SIGTERM)
			p.ends(0, "drained in", "not everything that was measured was exported")
			ended := time.Since(began)
			t.Logf("shutdown took %v", ended.Round(time.Millisecond))
			if ended > patience/2 { // the limit of the server is 4 s
				t.Errorf("shutdown took %v", ended)
			}
		})
	}
}
