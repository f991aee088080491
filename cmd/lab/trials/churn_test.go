package trials

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/telemetry"
	"sluice/transport"
)

// Clients connect and disconnect, one in ten with responses in flight, so that ids, table entries
// and descriptors are reused many times. No client receives a byte that belongs to another, and
// nothing is left.
func TestConnectionChurnCrossesNoByteAndLeavesNothing(t *testing.T) {
	engines(t, func(t *testing.T, engine transport.Mode) {
		total := scale(3_000, 10_000, 1_000_000)
		const workers, ids = 32, 256
		r := newRig(t, options{engine: engine, ids: ids, mute: true, sendBuffer: 8 << 10})
		stop := make(chan struct{})
		watched := watch(r.followers(8, 200)) // these stay from beginning to end
		done := r.stream(800, endless, stop)

		var began, refused atomic.Int64
		errs := make([]error, workers)
		start := time.Now()
		var group sync.WaitGroup
		for w := range workers {
			group.Go(func() {
				for errs[w] == nil {
					n := began.Add(1)
					if n > int64(total) {
						return
					}
					errs[w] = r.comeAndGo(n, &refused)
				}
			})
		}
		group.Wait()
		took := time.Since(start)
		r.need(errors.Join(errs...))
		close(stop)
		<-done
		r.need(<-watched)
		r.closeReaders()
		until(t, "all permits to be returned", func() bool { return r.pipeline.Connections() == 0 })
		until(t, "the kernel to hold no request", func() bool { return kernelRequests(t) == 0 })
		if refused.Load() > int64(total)/20 {
			t.Errorf("%d of %d clients were rejected because their ids were still in use", refused.Load(), total)
		}
		t.Logf("%d connects in %.1f s (%.0f/s), %d rejected because the id was still in use, %d slots for closed connections, %d ids beyond the pool",
			total, took.Seconds(), float64(total)/took.Seconds(), refused.Load(), r.count(telemetry.DropClientGone.Counter()), r.fresh.Load())
		r.drain()
	})
}

// comeAndGo is the life of client n.
func (r *rig) comeAndGo(n int64, refused *atomic.Int64) error {
	h := r.tcp
	if n%2 == 0 {
		h = r.unix
	}
	c, err := connect(h, uint64(n)<<32|0xC0C0, 500)
	if err != nil {
		return fmt.Errorf("client %d: %w", n, err)
	}
	defer c.Close()
	if n%10 == 0 { // leaves with responses in flight: a reset, a close and a half-read response in turn
		err := errors.Join(c.ask(1, 100), c.Flush())
		switch n / 10 % 3 {
		case 0:
			c.reset()
		case 1:
			err = errors.Join(err, c.notes(20))
		}
		if gone(err) {
			refused.Add(1)
			err = nil
		}
		return err
	}
	err = c.exchange(1)
	if gone(err) && c.next == 1 { // not one byte
		refused.Add(1)
		return nil
	}
	return err
}
