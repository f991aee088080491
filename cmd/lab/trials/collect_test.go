package trials

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"sluice/telemetry"
	"sluice/transport"
)

// Streams stay whole and continue during a garbage collection every millisecond, on one, two and
// eight processors.
func TestStreamsContinueDuringConstantCollections(t *testing.T) {
	engines(t, func(t *testing.T, engine transport.Mode) {
		for _, processors := range []int{1, 2, 8} {
			t.Run(fmt.Sprintf("GOMAXPROCS %d", processors), func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
				total := scale(3_000, 10_000, 500_000)
				r := newRig(t, options{engine: engine, sendBuffer: 8 << 10})
				readers := r.followers(40, 300)
				stop, collected := make(chan struct{}), make(chan int)
				go func() {
					every := time.NewTicker(time.Millisecond)
					defer every.Stop()
					for n := 0; ; n++ {
						select {
						case <-stop:
							collected <- n
							return
						case <-every.C:
							runtime.GC()
						}
					}
				}()
				began := time.Now()
				done := r.stream(20_000, total, nil)
				r.need(all(readers, (*reader).whole))
				<-done
				took := time.Since(began)
				close(stop)
				n := <-collected
				t.Logf("%d frames to %d clients in %.2f s (%.0f/s) during %d collections; %d sends, longest gap of the feed %v",
					total, len(readers), took.Seconds(), float64(total)/took.Seconds(), n, r.count(telemetry.EgressSendOK), r.feed.gap)
				for i, c := range readers {
					if c.next-1 != uint64(total/len(readers)) {
						t.Errorf("client %d received %d notes of %d", i, c.next-1, total/len(readers))
					}
				}
				if n == 0 {
					t.Error("no collection ran")
				}
				r.drain()
			})
		}
	})
}
