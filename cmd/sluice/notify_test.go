package main

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// serviceManager is the socket of a service manager, of which the servers of the test are told.
func serviceManager(t *testing.T) (manager *net.UnixConn, socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { manager.Close() })
	t.Setenv("NOTIFY_SOCKET", socket)
	return manager, socket
}

// The server notifies the service manager when clients can connect, regularly while it is alive,
// and when it stops.
func TestServiceManagerIsNotified(t *testing.T) {
	manager, _ := serviceManager(t)
	t.Setenv("WATCHDOG_USEC", "300000")
	p, _ := serving(t, t.TempDir(), "--drain-spread", "1ms")
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

// The process does not end before it has told the service manager of the drain, or tellFor has passed: here
// the manager's queue is full, so nothing can be told. A slow machine makes the end later, never earlier.
func TestEndWaitsUntilTheManagerIsTold(t *testing.T) {
	manager, socket := serviceManager(t)
	p, _ := serving(t, t.TempDir(), "--drain-spread", "1ms")
	if _, err := manager.Read(make([]byte, 64)); err != nil { // READY=1
		t.Fatal(err)
	}
	other, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	for err == nil {
		err = unix.Sendto(other, []byte("EXTEND_TIMEOUT_USEC=1"), 0, &unix.SockaddrUnix{Name: socket})
	}
	if err != unix.EAGAIN {
		t.Fatal(err)
	}
	began := time.Now()
	p.signal(syscall.SIGTERM)
	p.ends(0, "drained in")
	if took := time.Since(began); took < tellFor {
		t.Errorf("the process ended %v after the signal, and could not tell the manager for %v", took, tellFor)
	}
}
