//go:build !linux

package journal

import "os"

// forget does nothing where a file's cached pages cannot be dropped.
func forget(*os.File) {}
