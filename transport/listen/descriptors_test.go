package listen

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/transport/wire"
)

// serveAlone makes this test binary a server with few descriptors instead of running tests.
const serveAlone = "LISTEN_TEST_SERVE_ALONE"

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

// serveWithFewDescriptors serves until standard input ends, and prints counters for each line read.
func serveWithFewDescriptors(path string) error {
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 40, Max: 40}); err != nil {
		return err
	}
	s, err := New(Config{Endpoints: []Endpoint{{Network: "unix", Address: path, Open: true}}}, answering{})
	if err != nil {
		return err
	}
	if err := s.Listen(); err != nil {
		return err
	}
	s.Serve()
	fmt.Println("serving")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		c := s.Counters()
		fmt.Println(c.AcceptPauses, c.Connected)
	}
	return s.Close()
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

// counters returns the number of pauses of accepting and of connections so far.
func (c *child) counters() (pauses, connected int) {
	c.t.Helper()
	fmt.Fprintln(c.in)
	if line := c.line(); line != "" {
		if _, err := fmt.Sscan(line, &pauses, &connected); err != nil {
			c.t.Fatalf("%q: %v", line, err)
		}
	}
	return pauses, connected
}

func startChild(t *testing.T, path string) *child {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), serveAlone+"="+path)
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
	server := startChild(t, path)
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
	pauses, connected := 0, 0
	for deadline := time.Now().Add(patience); pauses == 0 || connected == 0; {
		if pauses, connected = server.counters(); time.Now().After(deadline) {
			t.Fatalf("accepting never paused; %d of %d clients are connected", connected, clients)
		}
	}
	if connected >= clients {
		t.Fatalf("%d of %d clients are connected", connected, clients)
	}
	t.Logf("%d of %d clients are connected when descriptors run out", connected, clients)
	for range clients {
		c := await(t, "ready client", ready)
		write(t, c, wire.AppendRequest(nil, 1, 0x10, nil))
		if tag, _ := receive(t, c); tag != wire.TagBatchEnd {
			t.Fatalf("received tag %#02x", tag)
		}
		c.Close() // frees a descriptor for a client that waits
	}
}
