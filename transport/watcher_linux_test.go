package transport

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Events of a descriptor that the Go poller refuses, here that of a file, would never be reported.
func TestWatcherFailsIfThePollerRefusesTheDescriptor(t *testing.T) {
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
		t.Fatal("a watcher for a file was created")
	}
	if !strings.Contains(err.Error(), "poller") {
		t.Errorf("error %v, want one about the poller", err)
	}
}
