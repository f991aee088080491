package main

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A service manager hears that the server is ready once clients can connect, that it lives as long as it does, and that it
// stops, whoever asked for that.
func TestTheServiceManagerIsTold(t *testing.T) {
	t.Run("signal", func(t *testing.T) {
		managed(t, func(p *process, _ string) { p.signal(syscall.SIGTERM) })
	})
	t.Run("operator", func(t *testing.T) {
		managed(t, func(_ *process, admin string) {
			if out, problems, code := local("admin", "--socket", admin, "drain"); code != 0 {
				t.Errorf("drain: %d %s %s", code, out, problems)
			}
		})
	})
}

func managed(t *testing.T, end func(p *process, admin string)) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "300000")
	admin := filepath.Join(dir, "admin")
	p, _ := serving(t, filepath.Join(dir, "data"), "--drain-spread", "1ms", "--admin-socket", admin)
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
	end(p, admin)
	hear("STOPPING=1")
	<-p.exited
}
