package bench

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// clock reads CLOCK_MONOTONIC, which is the same for all processes of a machine, at the cost of
// time.Since instead of a system call. It is a value without mutable state.
type clock struct {
	base time.Time
	at   int64 // CLOCK_MONOTONIC at base, ns
}

func newClock() clock {
	best, least := clock{}, time.Duration(math.MaxInt64)
	for range 16 { // the fastest reading relates time.Now and the system call best
		var ts unix.Timespec
		base := time.Now()
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			panic(fmt.Sprintf("bench: clock_gettime(CLOCK_MONOTONIC): %v", err)) // EINVAL only, clock_gettime(2)
		}
		if took := time.Since(base); took < least {
			least, best = took, clock{base, ts.Nano() - int64(took)/2}
		}
	}
	return best
}

// now returns CLOCK_MONOTONIC in ns.
func (c clock) now() int64 { return c.at + int64(time.Since(c.base)) }

// sleepUntil returns at or after the time at, ns.
func (c clock) sleepUntil(at int64) {
	for now := c.now(); now < at; now = c.now() {
		time.Sleep(time.Duration(at - now))
	}
}

// Usage is the resource usage of a process up to a time.
type Usage struct {
	At      int64  // CLOCK_MONOTONIC, ns
	User    int64  // CPU time in user mode, ns
	System  int64  // CPU time in the kernel, ns
	Mallocs uint64 // heap objects allocated
	GCs     uint32 // garbage collections
	Pauses  int64  // time that garbage collections stopped the world, ns
	Memory  int64  // resident memory at that time, bytes
	Peak    int64  // highest resident memory since the start of the process, bytes
}

// usage reads the usage of this process, getrusage(2).
func (c clock) usage() (Usage, error) {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return Usage{}, fmt.Errorf("bench: getrusage: %w", err)
	}
	u := Usage{At: c.now(), User: r.Utime.Nano(), System: r.Stime.Nano()}
	u.Memory, u.Peak = memory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.Mallocs, u.GCs, u.Pauses = m.Mallocs, m.NumGC, int64(m.PauseTotalNs)
	return u, nil
}

// minus returns the usage since earlier. At becomes the time between; the memory is that of u.
func (u Usage) minus(earlier Usage) Usage {
	return Usage{
		u.At - earlier.At, u.User - earlier.User, u.System - earlier.System,
		u.Mallocs - earlier.Mallocs, u.GCs - earlier.GCs,
		u.Pauses - earlier.Pauses, u.Memory, u.Peak,
	}
}

// memory returns the resident memory of the process, now and at most so far, in bytes, from
// /proc/self/status (proc(5)). It is 0 if that cannot be read.
func memory() (now, peak int64) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	return field(text, "VmRSS:") << 10, field(text, "VmHWM:") << 10
}

// field returns the number after a name in a file of /proc, 0 if it is missing. It does not
// allocate, because allocations are counted.
func field(text []byte, name string) (n int64) {
	_, rest, _ := bytes.Cut(text, []byte(name))
	rest = bytes.TrimLeft(rest, " \t")
	for i := 0; i < len(rest) && rest[i] >= '0' && rest[i] <= '9'; i++ {
		n = 10*n + int64(rest[i]-'0')
	}
	return n
}

// resident returns the current resident memory, bytes.
func resident() int64 {
	now, _ := memory()
	return now
}

// cpu returns the CPU time in ns.
func (u Usage) cpu() int64 { return u.User + u.System }

// machineTime returns the busy CPU time of the whole machine and the time that a hypervisor
// withheld, in ns, from /proc/stat (proc(5)). Both are 0 if that cannot be read.
func machineTime() (busy, stolen int64) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	var user, nice, system, idle, iowait, irq, soft, steal int64
	if _, err := fmt.Sscanf(string(line), "cpu %d %d %d %d %d %d %d %d", &user, &nice, &system,
		&idle, &iowait, &irq, &soft, &steal); err != nil {
		return 0, 0
	}
	const tick = 10 * int64(time.Millisecond) // USER_HZ is 100 on all architectures of Go
	return (user + nice + system + irq + soft) * tick, steal * tick
}
