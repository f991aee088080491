//go:build !linux

package client

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
)

func setCongestion(_ syscall.RawConn, name string) error {
	return fmt.Errorf("congestion control %q can be chosen on Linux only; this build is for %s, leave it "+
		"empty: %w", name, runtime.GOOS, errors.ErrUnsupported)
}
