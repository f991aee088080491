package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A server on a full disk ends before it is ready, not at the first order, and says how much it needs and
// how much is free.
func TestFullDiskIsNoticedBeforeClients(t *testing.T) {
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Skipf("needs to mount a small tmpfs to fill it, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	dir, filler := filepath.Join(disk, "data"), filepath.Join(disk, "filler")
	fill := func(bytes int) {
		if err := os.WriteFile(filler, make([]byte, bytes), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flags := []string{"serve", "--data-dir", dir, "--listen-tcp", "127.0.0.1:0", "--admin-address", "127.0.0.1:0",
		"--journal-segment", "1MiB"}
	refused := func(words ...string) {
		t.Helper()
		p := start(t, flags...)
		p.ends(1, words...)
		if strings.Contains(p.out.String(), "tcp ") {
			t.Errorf("the server was ready:\n%s", p.out)
		}
	}
	fill(3200 << 10) // a new journal needs two segments
	refused("free on its disk", "needs at least")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	p := start(t, flags...)
	address := p.address()
	expect(t, address, 0, "sell 3 10 @ 101", "accepted")
	p.signal(syscall.SIGTERM)
	p.ends(0, "drained in")
	fill(2500 << 10)
	refused("needs at least 1.0 MiB for the next segment", "KiB are free on its disk")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	p = start(t, flags...)
	expect(t, p.address(), 0, "top 3", "ask 10 @ 101")
}
