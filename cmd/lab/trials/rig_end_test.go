package trials

import (
	"bufio"
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"sluice/telemetry"
)

// drain drains the rig and checks that nothing is left.
func (r *rig) drain() {
	r.t.Helper()
	r.end(false, r.pipeline.Drain)
}

// end ends the rig with a method of the pipeline and checks that nothing is left. With hurry, the
// feed stops publishing.
func (r *rig) end(hurry bool, method func(context.Context) error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.shut(ctx, hurry, method); err != nil {
		r.t.Errorf("end: %v", err)
	}
	r.nothingLeft()
}

func (r *rig) shut(ctx context.Context, hurry bool, method func(context.Context) error) error {
	close(r.closing)
	err := r.listener.Close()
	close(r.feed.asks)
	if hurry {
		close(r.feed.hurry)
	}
	<-r.feed.done
	return errors.Join(err, method(ctx))
}

// abandon ends a rig whose test failed early.
func (r *rig) abandon() {
	select {
	case <-r.closing:
	default:
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = r.shut(ctx, true, r.pipeline.Fence) // the test has failed already
	}
	r.closeReaders()
}

func (r *rig) closeReaders() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.readers {
		c.Close()
	}
	r.readers = nil
}

// nothingLeft checks the invariants that hold after every kind of end (I8, I9, I10).
func (r *rig) nothingLeft() {
	r.t.Helper()
	if failure := r.failed(); failure != nil {
		r.t.Errorf("the server failed: %v", failure)
	}
	r.pipeline.Collector().Final()
	if n := r.pipeline.Collector().Sum().C[telemetry.EgressCloseErrors]; n != 0 {
		r.t.Errorf("%d sockets could not be closed: they were closed elsewhere", n)
	}
	r.balanced()
}

// failed returns the error of a server that failed.
func (r *rig) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failure
}

// balanced checks the invariants that hold after every end, including that of a server that failed.
func (r *rig) balanced() {
	r.t.Helper()
	if n := r.pipeline.Connections(); n != 0 {
		r.t.Errorf("%d permits are still out", n)
	}
	r.pipeline.Collector().Final()
	sum := r.pipeline.Collector().Sum()
	delivered, dropped := sum.C[telemetry.EgressFramesSent], uint64(0)
	for why := range telemetry.DropReason(telemetry.NumDropReasons) {
		dropped += sum.C[why.Counter()]
	}
	if counted := delivered + dropped; counted > r.feed.slots || counted < min(r.feed.slots, r.counted) {
		r.t.Errorf("ledger: %d slots in, %d delivered + %d dropped", r.feed.slots, delivered, dropped)
	}
	if n := sum.C[telemetry.EgressStale]; n != 0 {
		r.t.Errorf("%d completions matched no connection", n)
	}
	r.closeReaders()
	until(r.t, "all descriptors to be closed", func() bool { return openFiles(r.t) <= r.fds })
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > r.goroutines {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			r.t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), r.goroutines, stacks[:runtime.Stack(stacks, true)])
		}
		runtime.Gosched()
	}
}

// openFiles counts the descriptors of this process.
func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries) - 1 // one of them was reading the directory
}

// kernelRequests counts the requests that io_uring instances of this process hold, as fdinfo lists
// them.
func kernelRequests(t testing.TB) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err != nil || to != "anon_inode:[io_uring]" {
			continue
		}
		text, err := os.ReadFile("/proc/self/fdinfo/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		listed := false
		for lines := bufio.NewScanner(strings.NewReader(string(text))); lines.Scan(); {
			switch line := lines.Text(); {
			case strings.HasPrefix(line, "PollList:"):
				listed = true
			case !strings.HasPrefix(line, " "):
				listed = false
			case listed && strings.Contains(line, "op="):
				n++
			}
		}
	}
	return n
}
