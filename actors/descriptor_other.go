//go:build !unix

package actors

import (
	"errors"
	"syscall"
)

// These are never called with a socket that is sent on, because no engine does so here.

func closeDescriptor(int32) error { return errors.ErrUnsupported }

func checkSocket(int) error { return errors.ErrUnsupported }

func duplicate(syscall.Conn) (int, error) { return -1, errors.ErrUnsupported }
