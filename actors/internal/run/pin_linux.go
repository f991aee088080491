package run

import "golang.org/x/sys/unix"

// pin binds the calling thread to one CPU, see sched_setaffinity(2). A negative cpu does nothing.
func pin(cpu int) error {
	if cpu < 0 {
		return nil
	}
	var set unix.CPUSet
	set.Set(cpu)
	return unix.SchedSetaffinity(0, &set)
}
