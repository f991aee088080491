package transport

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// readEnvironment reads what a diagnosis needs. What cannot be read stays empty, and the diagnosis
// is less specific.
func readEnvironment() environment {
	var s environment
	if text, err := os.ReadFile("/proc/sys/kernel/io_uring_disabled"); err == nil {
		s.disabled = strings.TrimSpace(string(text))
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		s.release = unix.ByteSliceToString(name.Release[:])
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil {
		s.memlock = limit.Cur
	}
	return s
}
