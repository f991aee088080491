package listen

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/wire"
)

func TestCloseReleasesEveryConnectionOnce(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		h := newShard(t)
		s, address := start(t, Config{Endpoints: []Endpoint{
			endpoint(t, network, false), endpoint(t, network, true)}, Keys: keyring(t), Readers: 2}, h)
		_, key := keyPair(0)
		shaking := raw(t, network, address)
		answer(t, shaking, key)
		for range 10 {
			for _, c := range []*client.Conn{
				dial(t, network, address, client.Options{Key: key}),
				dial(t, network, s.Addresses()[1], client.Options{}),
			} {
				c.Send(1, 0x10, nil)
				c.Flush()
				expect(t, c, wire.TagBatchEnd) // only now is it certain that Connect returned
			}
		}
		if c := s.Counters(); c.Connected != 20 || c.Live != 20 || c.Accepted != 21 || c.Handshakes != 1 {
			t.Errorf("before Close: %+v", c)
		}
		for range 2 { // the second call changes nothing
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		seen := map[uint64]bool{}
		for range 20 {
			g := await(t, "end", h.ended)
			if g.reason != transport.ReasonShutdown || seen[g.conn.ID] {
				t.Errorf("ended with %+v", g)
			}
			seen[g.conn.ID] = true
		}
		if g := await(t, "refusal", h.refused); g.reason != transport.ReasonShutdown ||
			len(h.ended)+len(h.refused) != 0 {
			t.Errorf("refused with %v, and %d ends too many", g.reason, len(h.ended)+len(h.refused))
		}
		rejected(t, shaking, wire.Close{Reason: wire.CloseShutdown, RetryAfter: time.Second})
	})
}

func TestStopAcceptingKeepsConnections(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		h := newShard(t)
		s, address := openServer(t, network, h, nil)
		c := dial(t, network, address, client.Options{})
		s.StopAccepting()
		s.StopAccepting()
		if late, err := net.Dial(network, address); err == nil {
			late.Close()
			t.Error("a connection was made after StopAccepting")
		}
		if network == "unix" {
			if _, err := os.Lstat(address); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket file is still there: %v", err)
			}
		}
		c.Send(1, 0x10, nil)
		c.Flush()
		expect(t, c, wire.TagBatchEnd)
	})
}

func TestCloseReportsAHandlerThatDoesNotReturn(t *testing.T) {
	h := newShard(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	h.request = func(Conn, wire.Request) error {
		close(entered)
		<-leave
		return nil
	}
	noLeak(t)
	s, err := New(Config{Endpoints: []Endpoint{endpoint(t, "tcp", true)},
		CloseTimeout: 10 * time.Millisecond}, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	s.Serve()
	c := dial(t, "tcp", s.Addresses()[0], client.Options{})
	c.Send(1, 0x10, nil)
	c.Flush()
	await(t, "request", entered)
	if err := s.Close(); err == nil ||
		!strings.Contains(err.Error(), "reader 0 is still inside the handler") {
		t.Errorf("Close returned %v", err)
	}
	close(leave)
	if g := await(t, "end", h.ended); g.reason != transport.ReasonShutdown || g.requests != 1 {
		t.Errorf("ended with %+v", g)
	}
}

func TestCloseBeforeServeLeaksNothing(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		noLeak(t)
		e := endpoint(t, network, true)
		for _, begin := range []func(s *Server) error{
			func(*Server) error { return nil }, (*Server).Bind, (*Server).Listen,
			func(s *Server) error { return errors.Join(s.Bind(), s.Listen()) },
		} {
			s, err := New(Config{Endpoints: []Endpoint{e}, Readers: 3}, newShard(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := begin(s); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestPanicInTheHandlerIsReportedAndReleasesConnections(t *testing.T) {
	h := newShard(t)
	h.request = func(Conn, wire.Request) error { panic("broken shard") }
	fatal := make(chan error, 2)
	_, address := openServer(t, "tcp", h, func(c *Config) { c.Fatal = func(err error) { fatal <- err } })
	dial(t, "tcp", address, client.Options{})
	c := dial(t, "tcp", address, client.Options{})
	c.Send(1, 0x10, nil)
	c.Flush()
	if err := await(t, "report", fatal); !strings.Contains(err.Error(), "reader 0 stopped: broken shard") ||
		!strings.Contains(err.Error(), "lifecycle_test.go") {
		t.Errorf("reported %v", err)
	}
	for range 2 {
		await(t, "end", h.ended)
	}
	if late := raw(t, "tcp", address); late != nil { // accepted, and closed because no reader is left
		rejected(t, late, wire.Close{Reason: wire.CloseShutdown, RetryAfter: time.Second})
	}
}

func TestClosingADescriptorBeforeDisconnectPanics(t *testing.T) {
	s := newStepped(t, Config{Endpoints: []Endpoint{{Network: "unix", Address: "s", Open: true}}})
	peer := s.connect(t)
	c := await(t, "connection", s.h.connected)
	peer.Write([]byte{1, 0, 0, 0})
	s.collect()
	unix.Close(int(c.FD))
	defer func() {
		if text, _ := recover().(string); !strings.Contains(text, "closed before Disconnect") {
			t.Errorf("panic with %q", text)
		}
	}()
	s.step(0)
	t.Error("no panic")
}

func TestUnixSocketFileIsReplacedOnlyIfStale(t *testing.T) {
	noLeak(t)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	stale, err := net.Listen("unix", path("stale"))
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	live, err := net.Listen("unix", path("live"))
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if err := os.WriteFile(path("file"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, problem := range map[string]string{
		"stale": "", "new": "", "live": "a process answers", "file": "not a socket", "no/dir": "its directory does not exist",
	} {
		s, err := New(Config{Endpoints: []Endpoint{{Network: "unix", Address: path(name),
			Open: true, Mode: 0o600}}}, nopHandler{})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Listen()
		if problem != "" {
			if err == nil || !strings.Contains(err.Error(), problem) ||
				!strings.Contains(err.Error(), path(name)) {
				t.Errorf("%s: %v, want %q", name, err, problem)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if info, err := os.Stat(path(name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, mode %v", name, err, info.Mode())
		}
		s.Close()
		if _, err := os.Lstat(path(name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: still there after Close: %v", name, err)
		}
	}
	if b, _ := os.ReadFile(path("file")); string(b) != "precious" {
		t.Error("the file was destroyed")
	}
}

func TestCloseKeepsTheSocketFileOfAnotherServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first, err := New(Config{Endpoints: []Endpoint{{Network: "unix", Address: path, Open: true}}},
		nopHandler{})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Listen(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	successor, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer successor.Close()
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestListenOnAnAddressInUseBindsNothing(t *testing.T) {
	noLeak(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s, err := New(Config{Endpoints: []Endpoint{
		{Network: "tcp", Address: "127.0.0.1:0", Open: true},
		{Network: "tcp", Address: taken.Addr().String(), Open: true}}}, nopHandler{})
	if err != nil {
		t.Fatal(err)
	}
	before := descriptors(t)
	for name, begin := range map[string]func() error{"Bind": s.Bind, "Listen": s.Listen} {
		err = begin()
		if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) ||
			!strings.Contains(err.Error(), "another process") || !Unavailable(err) {
			t.Errorf("%s returned %v", name, err)
		}
		if after := descriptors(t); after != before {
			t.Errorf("%d descriptors, before: %d", after, before)
		}
	}
	s.Close()
}

func TestBoundAddressAcceptsNoClientBeforeListen(t *testing.T) {
	noLeak(t)
	path := filepath.Join(t.TempDir(), "s")
	s, err := New(Config{Endpoints: []Endpoint{{Network: "tcp", Address: "127.0.0.1:0", Open: true},
		{Network: "unix", Address: path, Open: true}}}, newShard(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Bind(); err != nil {
		t.Fatal(err)
	}
	at := s.Addresses()[0]
	if c, err := net.Dial("tcp", at); err == nil {
		c.Close()
		t.Error("a client is connected before Listen")
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a socket file before Listen: %v", err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	s.Serve()
	for i, network := range []string{"tcp", "unix"} {
		c, err := net.Dial(network, s.Addresses()[i])
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

// Bind removes nothing, and tells mistakes from the state of the machine.
func TestBindChecksSocketPaths(t *testing.T) {
	dir := t.TempDir()
	name := func(n string) string { return filepath.Join(dir, n) }
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: name("stale")})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	used, err := net.Listen("unix", name("used"))
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	if err := os.WriteFile(name("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		path, want  string
		unavailable bool
	}{
		{name("fresh"), "", false}, {name("stale"), "", false},
		{name("used"), "a process answers", true}, {name("file"), "not a socket", false},
		{name("none/s"), "directory does not exist", true},
	} {
		s, err := New(Config{Endpoints: []Endpoint{{Network: "unix", Address: v.path, Open: true}}},
			nopHandler{})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Bind()
		if (err != nil) != (v.want != "") || err != nil && (!strings.Contains(err.Error(), v.want) ||
			Unavailable(err) != v.unavailable) {
			t.Errorf("%s: %v, unavailable: %v", v.path, err, Unavailable(err))
		}
		s.Close()
	}
	if _, err := os.Lstat(name("stale")); err != nil {
		t.Errorf("Bind removed a stale socket: %v", err)
	}
}

func TestAbstractSocketAndAllInterfaces(t *testing.T) {
	h := newShard(t)
	name := "@sluice-listen-" + strings.ReplaceAll(t.TempDir(), "/", "-")
	s, _ := start(t, Config{Keys: keyring(t), Endpoints: []Endpoint{
		{Network: "unix", Address: name, Open: true}, {Network: "tcp", Address: ":0"}}}, h)
	dial(t, "unix", name, client.Options{})
	_, key := keyPair(0)
	_, port, err := net.SplitHostPort(s.Addresses()[1])
	if err != nil {
		t.Fatal(err)
	}
	dial(t, "tcp", "127.0.0.1:"+port, client.Options{Key: key})
	await(t, "connection", h.connected)
	if c := await(t, "connection", h.connected); !c.Remote.Addr().Is4() {
		t.Errorf("an IPv4 client has the address %v", c.Remote)
	}
	runtime.KeepAlive(s)
}
