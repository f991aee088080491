package transport

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A descriptor that Go's poller refuses, here that of a file, would never be heard of again.
func TestAWatcherSaysThatItCannotWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWatcher(fd, func() {})
	if err == nil {
		w.stop()
		t.Fatal("it watches a file")
	}
	if !strings.Contains(err.Error(), "poller") {
		t.Errorf("error %v, want that the poller does not take it", err)
	}
}
