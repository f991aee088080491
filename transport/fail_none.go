//go:build linux && !giouring

package transport

import "syscall"

// failUring is never called: the io_uring engine is not compiled in.
func failUring(Ring, func(Call) syscall.Errno) {}
