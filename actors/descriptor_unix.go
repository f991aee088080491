//go:build unix

package actors

import "golang.org/x/sys/unix"

// closeDescriptor closes a socket.
func closeDescriptor(fd int32) error { return unix.Close(int(fd)) }
