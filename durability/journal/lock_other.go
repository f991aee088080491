//go:build !unix

package journal

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// lockExclusively returns an error, so a journal cannot be written here. Inspect needs no lock.
func lockExclusively(*os.File) error {
	return fmt.Errorf("a journal is written on Unix only; this build is for %s: %w", runtime.GOOS,
		errors.ErrUnsupported)
}

func lockShared(*os.File) error { return errors.ErrUnsupported }

// mountPoint reports whether path is on another file system than its parent.
func mountPoint(path, parent string) (bool, error) { return false, nil }
