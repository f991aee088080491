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

// clock reads CLOCK_MONOTONIC, the same for all processes of a machine, at the cost of time.Since instead of a system
// call. It is a value without mutable state.
type clock struct {
	base time.Time
	at   int64 // CLOCK_MONOTONIC at base, ns
}

func newClock() clock {
	best, least := clock{}, time.Duration(math.MaxInt64)
	for range 16 { // the fastest reading says best what time.Now and the system call have in common
		var ts unix.Timespec
		base := time.Now()
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			panic(fmt.Sprintf("bench: clock_gettime(CLOCK_MONOTONIC): %v", err)) // clock_gettime(2): EINVAL only
		}
		if took := time.Since(base); took < least {
			least, best = took, clock{base, ts.Nano() - int64(took)/2}
		}
	}
	return best
}

// now is CLOCK_MONOTONIC in ns.
func (c clock) now() int64 { return c.at + int64(time.Since(c.base)) }

// sleepUntil returns at or after the time at, ns.
func (c clock) sleepUntil(at int64) {
	for now := c.now(); now < at; now = c.now() {
		time.Sleep(time.Duration(at - now))
	}
}

// Usage is what a process has consumed up to a moment.
type Usage struct {
	At      int64  // CLOCK_MONOTONIC, ns
	User    int64  // CPU time in user mode, ns
	System  int64  // CPU time in the kernel, ns
	Mallocs uint64 // heap objects allocated
	GCs     uint32 // garbage collections
	Pauses  int64  // time that garbage collections stopped everything, ns
	Memory  int64  // resident at that moment, bytes
	Peak    int64  // resident at most since the process began, bytes
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

// minus is what was consumed since earlier; At becomes the time between. Memory stays what it is.
func (u Usage) minus(earlier Usage) Usage {
	return Usage{
		u.At - earlier.At, u.User - earlier.User, u.System - earlier.System, u.Mallocs - earlier.Mallocs, u.GCs - earlier.GCs,
		u.Pauses - earlier.Pauses, u.Memory, u.Peak,
	}
}

// memory is what the process has resident, now and at most so far, in bytes, from /proc/self/status (proc(5)); 0 where it
// cannot be read.
func memory() (now, peak int64) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	return field(text, "VmRSS:") << 10, field(text, "VmHWM:") << 10
}

// field is the number behind a name in a file of /proc, 0 if it is not there. It allocates nothing, since allocations are
// being counted.
func field(text []byte, name string) (n int64) {
	_, rest, _ := bytes.Cut(text, []byte(name))
	rest = bytes.TrimLeft(rest, " \t")
	for i := 0; i < len(rest) && rest[i] >= '0' && rest[i] <= '9'; i++ {
		n = 10*n + int64(rest[i]-'0')
	}
	return n
}

// resident is memory's first value.
func resident() int64 {
	now, _ := memory()
	return now
}

// cpu is the CPU time in ns.
func (u Usage) cpu() int64 { return u.User + u.System }

// machineTime is the CPU time of the whole machine that was not idle, and the part a hypervisor kept, in ns, from
// /proc/stat (proc(5)). Both are 0 where it cannot be read.
func machineTime() (busy, stolen int64) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	var user, nice, system, idle, iowait, irq, soft, steal int64
	if _, err := fmt.Sscanf(string(line), "cpu %d %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &iowait, &irq, &soft, &steal); err != nil {
		return 0, 0
	}
	const tick = 10 * int64(time.Millisecond) // USER_HZ is 100 on all architectures of Go
	return (user + nice + system + irq + soft) * tick, steal * tick
}
