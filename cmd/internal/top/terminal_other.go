//go:build !linux && !darwin

package top

import (
	"errors"
	"os"
)

// IsTerminal reports whether Watch can read from f and draw on it. Here it cannot; Once works.
func IsTerminal(*os.File) bool { return false }

func resized() []os.Signal { return nil }

func terminalSize(*os.File) (width, height int) { return 80, 24 }

func rawKeys(*os.File) (restore func(), err error) { return nil, errors.ErrUnsupported }
