//go:build unix

package client

import (
	"os"
	"syscall"
)

// exposed reports whether a file of this user is accessible to others.
func exposed(info os.FileInfo) bool {
	if info.Mode().Perm()&0o077 == 0 || !info.Mode().IsRegular() {
		return false
	}
	status, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(status.Uid) == os.Getuid()
}
