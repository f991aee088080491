//go:build linux && !giouring

package transport

import "syscall"

// failUring is never called: there is no such engine in this program.
func failUring(Ring, func(Call) syscall.Errno) {}
