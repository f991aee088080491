package listen

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/transport/wire"
)

// serveAlone makes this test binary a server with few descriptors instead of running tests.
const serveAlone = "LISTEN_TEST_SERVE_ALONE"

// handshakes is the time that this server has for a handshake.
const handshakes = "LISTEN_TEST_HANDSHAKES"

func TestMain(m *testing.M) {
	if path := os.Getenv(serveAlone); path != "" {
		if err := serveWithFewDescriptors(path); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		return
	}
	// The Go poller opens descriptors when it is first used; noLeak must not count them as a leak.
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
	os.Exit(m.Run())
}

// answering answers each request with a BatchEnd.
type answering struct{ nopHandler }

func (answering) Request(c Conn, r wire.Request) error {
	sendAll(c.FD, batchEnd(r.Seq))
	return nil
}

// fewDescriptors are enough for a listener, its spare ones and some clients.
const fewDescriptors = 48

func limitDescriptors(n uint64) error {
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: fewDescriptors})
}

// serveWithFewDescriptors serves until standard input ends. For each line read it prints counters, and
// how many descriptors can be opened.
func serveWithFewDescriptors(path string) error {
	limit, err := time.ParseDuration(os.Getenv(handshakes))
	if err != nil {
		return err
	}
	s, err := New(Config{Endpoints: []Endpoint{{Network: "unix", Address: path, Open: true}},
		HandshakeTimeout: limit}, answering{})
	if err != nil {
		return err
	}
	if err := limitDescriptors(DefaultSpare + 4); err != nil {
		return err
	}
	if err := s.Listen(); err == nil || !strings.Contains(err.Error(), "limit of file descriptors is 20") {
		return fmt.Errorf("listening without a descriptor for a client: %v", err)
	}
	if err := limitDescriptors(fewDescriptors); err != nil {
		return err
	}
	if err := s.Listen(); err != nil {
		return err
	}
	s.Serve()
	fmt.Println("serving")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		spare := openable() // while no socket is moved
		c := s.Counters()
		fmt.Println(c.AcceptPauses, c.AcceptPaused, c.Connected, spare)
	}
	return s.Close()
}

// openable returns how many descriptors can be opened, DefaultSpare at most.
func openable() (n int) {
	for ; n < DefaultSpare; n++ {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return n
		}
		defer f.Close()
	}
	return n
}

// child is the server process of the test.
type child struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
}

func (c *child) line() string {
	c.t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatalf("the server printed %q, then %v", line, err)
	}
	return strings.TrimSpace(line)
}

// figures are what the server counted so far, and the descriptors that it could open.
type figures struct{ pauses, paused, connected, spare int }

func (c *child) figures() (f figures) {
	c.t.Helper()
	fmt.Fprintln(c.in)
	line := c.line()
	if _, err := fmt.Sscan(line, &f.pauses, &f.paused, &f.connected, &f.spare); err != nil {
		c.t.Fatalf("%q: %v", line, err)
	}
	return f
}

// until asks the server for its figures until they are good.
func (c *child) until(what string, good func(figures) bool) (f figures) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); !good(f); {
		if f = c.figures(); time.Now().After(deadline) {
			c.t.Fatalf("not %s: %+v", what, f)
		}
	}
	return f
}

func startChild(t *testing.T, path string, limit time.Duration) *child {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), serveAlone+"="+path, handshakes+"="+limit.String())
	command.Stderr = os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // the server ends with a test that is killed
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := command.Wait(); err != nil {
			t.Error("server process:", err)
		}
	})
	c := &child{t: t, in: in, out: bufio.NewReader(out)}
	if line := c.line(); line != "serving" {
		t.Fatal(line)
	}
	return c
}

// There are more clients than descriptors. Connected clients are served as before; the others wait
// in the backlog and are accepted when descriptors become free.
func TestRunningOutOfDescriptorsPausesAcceptingOnly(t *testing.T) {
	path := endpoint(t, "unix", true).Address
	server := startChild(t, path, time.Hour)
	const clients = 60
	readySize := len(wire.AppendServerReady(nil, &wire.ServerReady{}))
	ready := make(chan net.Conn, clients)
	for range clients {
		c := raw(t, "unix", path)
		go func() {
			_, err := io.ReadFull(c, make([]byte, wire.ChallengeFrameSize))
			if err == nil {
				_, err = c.Write(plainHello())
			}
			if err == nil {
				_, err = io.ReadFull(c, make([]byte, readySize))
			}
			if err != nil {
				t.Error(err)
			}
			ready <- c
		}()
	}
	full := server.until("full", func(f figures) bool { return f.paused == 1 && f.connected > 0 })
	if full.connected >= clients || full.pauses == 0 || full.spare != DefaultSpare {
		t.Fatalf("%d clients: %+v, want %d spare descriptors", clients, full, DefaultSpare)
	}
	t.Logf("%d of %d clients are connected when descriptors run out", full.connected, clients)
	for range clients {
		c := await(t, "ready client", ready)
		write(t, c, wire.AppendRequest(nil, 1, 0x10, nil))
		if tag, _ := receive(t, c); tag != wire.TagBatchEnd {
			t.Fatalf("received tag %#02x", tag)
		}
		c.Close() // frees a descriptor for a client that waits
	}
	server.until("accepting", func(f figures) bool { return f.paused == 0 && f.connected == clients })
}

// Clients that say nothing hold their descriptors for a quarter of the time that they have otherwise, if
// others wait for them.
func TestSilentClientsAreEndedEarlyWhenDescriptorsRunOut(t *testing.T) {
	path := endpoint(t, "unix", true).Address
	server := startChild(t, path, 8*time.Second)
	var silent []net.Conn
	for range fewDescriptors {
		silent = append(silent, raw(t, "unix", path))
	}
	began := time.Now()
	server.until("full", func(f figures) bool { return f.paused == 1 })
	tag, body := byte(0), []byte(nil)
	for tag != wire.TagClose {
		tag, body = receive(t, silent[0])
	}
	end, ok := wire.DecodeClose(body)
	if !ok || end.Reason != wire.CloseLimit {
		t.Errorf("a silent client is told %+v after %v, want %v", end, time.Since(began), wire.CloseLimit)
	}
}

// Listen and Hold of a name that is in use close no descriptor that they have not opened. Number 0 is the one that
// a forgotten value would name.
func TestFailedListenClosesNoDescriptorOfOthers(t *testing.T) {
	stdin, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Dup3(stdin, 0, 0); unix.Close(stdin) }()
	_, address := openServer(t, "unix", newShard(t), nil)
	once := filepath.Join(t.TempDir(), "s")
	unused := func(at string) Endpoint { return Endpoint{Network: "unix", Address: at, Open: true} }
	abstract := "@" + once
	holder, err := net.Listen("unix", abstract)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	for name, endpoints := range map[string][]Endpoint{
		"a path in use":           {unused(address)},
		"an abstract name in use": {unused(abstract)},
		"one path twice":          {unused(once), unused(once)},
	} {
		listen := func() error {
			s, err := New(Config{Endpoints: slices.Clone(endpoints)}, newShard(t))
			if err != nil {
				t.Fatal(err)
			}
			return s.Listen()
		}
		hold := func() error {
			_, _, err := Hold(Config{Endpoints: slices.Clone(endpoints)})
			return err
		}
		for _, failing := range []func() error{listen, hold} {
			if err := failing(); err == nil {
				t.Fatalf("%s: no error", name)
			}
			if err := unix.Fstat(0, new(unix.Stat_t)); err != nil {
				t.Fatalf("%s: descriptor 0 of the process was closed: %v", name, err)
			}
		}
	}
}
