//go:build linux || darwin || freebsd

package journal

import "golang.org/x/sys/unix"

// freeBytes is what users other than root may still write on the disk of dir: statfs(2). A file
// system that does not know its size is unknown.
func freeBytes(dir string) (free int64, ok bool) {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil || s.Blocks == 0 {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true
}
