package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// hiccup is a time From..To, on CLOCK_MONOTONIC in ns, in which a processor did not run even a
// thread of the highest priority: the host ran another guest, or the kernel was not interruptible.
// No server can avoid it, and /proc/stat does not show it on every host. The idea is from jHiccup
// (https://github.com/giltene/jHiccup). With real-time priority, waiting for a processor that the
// run itself uses does not count.
type hiccup struct{ From, To int64 }

// hiccupReport has the hiccups that the measuring process saw.
type hiccupReport struct{ Hiccups []hiccup }

const (
	hiccupMeter  = "hiccups"            // Spec.Server of the measuring process
	hiccupPeriod = 5 * time.Millisecond // interval of wake-ups, each of which costs 35 us
	hiccupLeast  = 2 * time.Millisecond // shortest delay that counts; a hiccup of 7 ms is always seen
	hiccupMost   = 1 << 16              // hiccups kept per processor
	hiccupBefore = 5 * time.Millisecond // frames published within this time before a hiccup may still be in flight
	hiccupAfter  = 10                   // multiple of its length in which queued work is caught up
)

// Calm has the latencies while the host ran all processors. A frame counts by its scheduled time,
// so a frame that the server delays is not left out.
type Calm struct {
	Share     float64 // share of the measured time; 0 if hiccups were not measured
	P50, P999 float64 // ns
	Why       string  // reason why hiccups were not measured, or ""
	hist      *hdrhistogram.Histogram
}

// record sets the latencies from the histogram.
func (c *Calm) record() {
	c.P50, c.P999 = float64(c.hist.ValueAtQuantile(50)), float64(c.hist.ValueAtQuantile(99.9))
}

// timed is a frame within the measured time: its scheduled time and its latency, ns.
type timed struct{ stamp, took int64 }

// calm returns the latencies in from..to without the samples around hiccups.
func calm(samples []timed, hiccups []hiccup, from, to int64) Calm {
	const grain = int64(time.Millisecond)
	disturbed := make([]bool, (to-from+grain-1)/grain)
	for _, h := range hiccups {
		first, last := h.From-int64(hiccupBefore), h.To+hiccupAfter*(h.To-h.From)
		for i := max(first-from, 0) / grain; i < int64(len(disturbed)) && from+i*grain < last; i++ {
			disturbed[i] = true
		}
	}
	hist := hdrhistogram.New(1, latencyMost, 3)
	for _, s := range samples {
		if !disturbed[(s.stamp-from)/grain] {
			_ = hist.RecordValue(s.took) // within the bounds
		}
	}
	left := 0
	for _, d := range disturbed {
		if !d {
			left++
		}
	}
	c := Calm{Share: float64(left) / float64(len(disturbed)), hist: hist}
	c.record()
	return c
}

// watched runs load and, if the spec asks for it, measures hiccups meanwhile.
func (r *Runner) watched(ctx context.Context, l *link, f *fleet, shared *progress, res *Result) error {
	if !res.Spec.Hiccups {
		_, err := r.load(l, f, shared, res)
		return err
	}
	end, why, err := r.watch(ctx)
	if err != nil {
		return errors.Join(err, f.stop())
	}
	from, err := r.load(l, f, shared, res)
	hiccups, ended := end()
	if err := errors.Join(err, ended); err != nil {
		return err
	}
	if res.Calm.Why = why; why == "" {
		var samples []timed
		for _, r := range f.receivers {
			samples = append(samples, r.all...)
		}
		res.Calm = calm(samples, hiccups, from, from+int64(res.Spec.Run))
	}
	return nil
}

// watch starts a process that measures hiccups until end is called. why is the reason if that is
// not possible.
func (r *Runner) watch(ctx context.Context) (end func() ([]hiccup, error), why string, err error) {
	nothing := func() ([]hiccup, error) { return nil, nil }
	spec := Spec{Server: hiccupMeter}
	l, wait, err := r.spawn(ctx, &spec, nil)
	if err != nil {
		return nothing, "", err
	}
	var answer ready
	if err := errors.Join(l.give(&spec), l.take(&answer)); err != nil {
		return nothing, "", errors.Join(err, wait(true))
	}
	if answer.Error != "" {
		return nothing, answer.Error, wait(false)
	}
	return func() ([]hiccup, error) {
		var report hiccupReport
		err := errors.Join(l.give(begin{}), l.take(&report))
		return report.Hiccups, errors.Join(err, wait(err != nil))
	}, "", nil
}

// serveHiccups is the child's side: it runs a thread on each processor.
func serveHiccups(l *link) error {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return l.give(ready{Error: fmt.Sprintf("sched_getaffinity: %v", err)})
	}
	runtime.GOMAXPROCS(all.Count() + 2) // no thread waits for a P after sleeping
	c, ended := newClock(), &atomic.Bool{}
	started, results := make(chan error), make(chan []hiccup)
	answer := ready{}
	threads := 0
	for cpu := range len(all) * 64 {
		if !all.IsSet(cpu) {
			continue
		}
		go watchCPU(cpu, c, ended, started, results)
		if err := <-started; err != nil {
			answer.Error = err.Error()
			break
		}
		threads++
	}
	var stop begin
	err := l.give(answer)
	if err == nil && answer.Error == "" {
		err = l.take(&stop)
	}
	ended.Store(true)
	report := hiccupReport{}
	for range threads {
		report.Hiccups = append(report.Hiccups, <-results...)
	}
	if err != nil || answer.Error != "" {
		return err
	}
	return l.give(&report)
}

// watchCPU wakes up once per period on one processor, with real-time priority, and records the
// hiccups. It reports on started whether that is possible.
func watchCPU(cpu int, c clock, ended *atomic.Bool, started chan<- error, results chan<- []hiccup) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	var one unix.CPUSet
	one.Set(cpu)
	err := unix.SchedSetaffinity(0, &one)
	if err == nil {
		err = unix.SchedSetAttr(0,
			&unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 99,
				Flags: unix.SCHED_FLAG_RESET_ON_FORK}, 0)
	}
	if err != nil {
		started <- os.NewSyscallError("real-time priority (root or CAP_SYS_NICE): sched_setattr", err)
		return
	}
	at := c.now() // before started, so that a delay of the first wake-up counts
	started <- nil
	var seen []hiccup
	for last := false; !last; last = ended.Load() { // at least once, since the first wake-up may be late, too
		at += int64(hiccupPeriod)
		until := unix.NsecToTimespec(at)
		for err := unix.EINTR; err == unix.EINTR; {
			err, _ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &until,
				nil).(unix.Errno)
		}
		if now := c.now(); now-at >= int64(hiccupLeast) {
			if len(seen) < hiccupMost {
				seen = append(seen, hiccup{at, now})
			}
			at = now
		}
	}
	results <- seen
}
