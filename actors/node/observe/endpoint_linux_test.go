package observe

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A process of another user that can reach the socket gets no answer. A thread with credentials of
// its own stands in for it; it ends with the test.
func TestSocketRejectsOtherUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can change its user id")
	}
	r := newRig(t)
	for path := r.socket; path != "/tmp" && path != "/"; path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o777); err != nil { // so that the user id alone keeps it out
			t.Fatal(err)
		}
	}
	ask := func(uid uintptr) (answer string, err error) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
			if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); e != 0 {
				err = e
				return
			}
			fd, e := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if e != nil {
				err = e
				return
			}
			defer unix.Close(fd)
			if err = unix.Connect(fd, &unix.SockaddrUnix{Name: r.socket}); err != nil {
				return
			}
			if _, err = unix.SendmsgN(fd, []byte("GET / HTTP/1.0\r\n\r\n"), nil, nil,
				unix.MSG_NOSIGNAL); err != nil {
				return
			}
			b := make([]byte, 64)
			n, e := unix.Read(fd, b)
			answer, err = string(b[:max(n, 0)]), e
		}()
		<-done
		return answer, err
	}
	if got, err := ask(0); err != nil || !strings.Contains(got, "200 OK") {
		t.Fatalf("root: %q, %v", got, err)
	}
	if got, err := ask(12345); got != "" || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOENT) {
		t.Fatalf("another user: %q, %v; want an end without an answer", got, err)
	}
	if got, err := ask(0); err != nil || !strings.Contains(got, "200 OK") {
		t.Fatalf("root afterwards: %q, %v", got, err)
	}
}

func TestSocketFile(t *testing.T) {
	r := newRig(t)
	info, err := os.Stat(r.socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if _, err := listenUnix(r.socket); err == nil ||
		!strings.Contains(err.Error(), "a process answers") {
		t.Errorf("a second listener at the same path: %v", err)
	}
	stale := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	fresh, err := listenUnix(stale)
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	fresh.Close()
	if err := os.WriteFile(stale, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(stale); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file: %v", err)
	}
}

// Clients that send a part of a header occupy connections and are closed. Other requests are
// answered: at once below the limit of connections, and after the time limit of a header above it.
func TestDrippingClientsDoNotBlockOthers(t *testing.T) {
	r := newRig(t, func(_ *bookConfig, c *Config) { c.headerTimeout = 300 * time.Millisecond })
	drip := func() net.Conn {
		c, err := net.Dial("tcp", r.web)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: lo"); err != nil {
			t.Fatal(err)
		}
		return c
	}
	var all []net.Conn
	for range maxConnections - 1 {
		all = append(all, drip())
	}
	if code, _ := r.request("tcp", "GET", "/livez", ""); code != 200 {
		t.Errorf("one below the limit: %d", code)
	}
	for range 5 {
		all = append(all, drip())
	}
	if code, _ := r.request("tcp", "GET", "/livez", ""); code != 200 {
		t.Errorf("above the limit: %d", code)
	}
	if code, _ := r.request("unix", "GET", "/livez", ""); code != 200 {
		t.Errorf("the other endpoint: %d", code)
	}
	for i, c := range all {
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		for b := make([]byte, 512); ; {
			if _, err := c.Read(b); err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("client %d is still connected", i)
				}
				break
			}
		}
	}
	big := "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 2*headerBytes)
	if line := r.raw(big); !strings.Contains(line, "431") {
		t.Errorf("an endless header: %q", line)
	}
}
