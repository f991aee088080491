package journal

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// fastFolder is the parent of the directories of these tests: in memory if there is room, because each
// point needs a new one. A container's /dev/shm has 64 MiB.
func fastFolder(t testing.TB) string {
	t.Helper()
	var fs unix.Statfs_t
	if unix.Statfs("/dev/shm", &fs) != nil || fs.Bavail*uint64(fs.Bsize) < 512<<20 {
		return t.TempDir()
	}
	shm, err := os.MkdirTemp("/dev/shm", "journal-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(shm) })
	return shm
}
