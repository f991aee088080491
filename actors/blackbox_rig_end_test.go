package actors

import (
	"context"
	"os"
	"runtime"
	"testing"

	"sluice/telemetry"
)

// drain ends the rig in order, and checks that nothing is left and every slot is accounted for.
func (r *rig) drain() {
	r.t.Helper()
	r.must(<-r.draining())
	r.nothingLeft()
}

// draining starts to drain the rig and reports when that has ended.
func (r *rig) draining() chan error {
	r.Slots().Close()
	drained := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		drained <- r.Drain(ctx)
	}()
	return drained
}

// stop ends the rig now.
func (r *rig) stop() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r.must(r.Stop(ctx))
	r.nothingLeft()
}

// fence ends the rig without another byte.
func (r *rig) fence() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r.must(r.Fence(ctx))
	r.nothingLeft()
}

// nothingLeft checks what must hold after every kind of end (I8, I9, I10).
func (r *rig) nothingLeft() {
	r.t.Helper()
	if n := r.Connections(); n != 0 {
		r.t.Errorf("%d permits are still in use", n)
	}
	if delivered, dropped := r.ledger(); delivered+dropped != r.slots {
		r.t.Errorf("ledger: %d slots in, %d delivered + %d dropped", r.slots, delivered, dropped)
	}
	if n := r.Collector().Sum().C[telemetry.EgressStale]; n != 0 {
		r.t.Errorf("%d completions matched no connection", n)
	}
	r.watch.forgetAll(r.t)
	r.closeEnds()
	clients := 0
	for _, c := range r.clients {
		if c.open {
			clients++
		}
	}
	eventually(r.t, "all goroutines ended", func() bool { return runtime.NumGoroutine() <= r.goroutines })
	eventually(r.t, "all descriptors are closed",
		func() bool { return openFDs(r.t)-clients <= r.fds })
}

// ledger returns how many slots were delivered and dropped; the pipeline has ended.
func (r *rig) ledger() (delivered, dropped uint64) {
	r.Collector().Final()
	sum := r.Collector().Sum()
	for reason := range telemetry.DropReason(telemetry.NumDropReasons) {
		dropped += sum.C[reason.Counter()]
	}
	return sum.C[telemetry.EgressFramesSent], dropped
}

// dropped returns how many slots were dropped for a reason.
func (r *rig) dropped(why telemetry.DropReason) uint64 { return r.count(why.Counter()) }

// openFDs counts the descriptors of this process.
func openFDs(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries) - 1 // one of them read the directory
}
