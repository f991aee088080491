package main

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// The server notifies the service manager when clients can connect, regularly while it is alive,
// and when it stops.
func TestServiceManagerIsNotified(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "300000")
	p, _ := serving(t, filepath.Join(dir, "data"), "--drain-spread", "1ms")
	hear := func(want string) {
		t.Helper()
		b := make([]byte, 64)
		for deadline := time.Now().Add(patience); ; {
			if err := manager.SetReadDeadline(deadline); err != nil {
				t.Fatal(err)
			}
			n, err := manager.Read(b)
			if err != nil {
				t.Fatalf("waiting for %s: %v", want, err)
			}
			if string(b[:n]) == want {
				return
			}
		}
	}
	hear("READY=1")
	hear("WATCHDOG=1")
	hear("WATCHDOG=1")
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	hear("STOPPING=1")
	<-p.exited
}
