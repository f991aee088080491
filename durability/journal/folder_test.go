package journal

import (
	"os"
	"testing"
)

// fastFolder is the parent of the directories of these tests: in memory if possible, because each
// point needs a new one.
func fastFolder(t testing.TB) string {
	t.Helper()
	shm, err := os.MkdirTemp("/dev/shm", "journal-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(shm) })
	return shm
}
