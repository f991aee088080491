package run

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// CheckCPU reports why this process cannot pin a thread to a CPU, see sched_getaffinity(2).
func CheckCPU(cpu int) error {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return fmt.Errorf("sched_getaffinity: %w", err)
	}
	if cpu >= 0 && !allowed.IsSet(cpu) {
		return fmt.Errorf("this process may not use CPU %d; the CPUs that it may use are %s", cpu,
			list(&allowed))
	}
	return nil
}

// list writes a set of CPUs as 0-3,8.
func list(set *unix.CPUSet) (text string) {
	for first, left := 0, set.Count(); left > 0; first++ {
		if !set.IsSet(first) {
			continue
		}
		last := first
		for set.IsSet(last + 1) {
			last++
		}
		if text != "" {
			text += ","
		}
		if text += fmt.Sprint(first); last > first {
			text += fmt.Sprintf("-%d", last)
		}
		left -= last - first + 1
		first = last
	}
	return text
}

// pin binds the calling thread to one CPU, see sched_setaffinity(2). A negative cpu does nothing. unpin,
// which is never nil, lets the thread use the CPUs from before; the same thread calls it.
func pin(cpu int) (unpin func() error, err error) {
	unpin = func() error { return nil }
	if cpu < 0 {
		return unpin, nil
	}
	var before, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return unpin, err
	}
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return unpin, err
	}
	return func() error { return unix.SchedSetaffinity(0, &before) }, nil
}
