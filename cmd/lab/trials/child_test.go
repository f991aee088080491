package trials

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/transport"
)

// Trials that need more or fewer descriptors than this process has, or a process to themselves, run
// a part as a child: this test binary again, with its role in the environment.
const (
	roleEnv    = "SLUICE_TRIALS_ROLE"
	roleIdle   = "idle"   // network address n: n connections that do nothing
	roleFull   = "watch"  // network address n: n followers that check their streams
	roleStarv  = "files"  // engine n: a server with n descriptors, whose gate is shut and opened by lines on standard input
	roleMemory = "memory" // engine n: a server that measures the memory of n idle connections
	rolePause  = "pause"  // engine: a server with a stream, for a test that stops and continues it
)

// TestChild plays the role of a child process. In an ordinary run it does nothing.
func TestChild(t *testing.T) {
	args := strings.Fields(os.Getenv(roleEnv))
	if len(args) == 0 {
		return
	}
	number := func(i int) int {
		n, err := strconv.Atoi(args[i])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	switch args[0] {
	case roleIdle, roleFull:
		dialMany(t, how{network: args[1], address: args[2]}, number(3), args[0] == roleFull)
	case roleStarv:
		starve(t, args[1], number(2))
	case roleMemory:
		measureIdle(t, args[1], number(2))
	case rolePause:
		paused(t, args[1])
	}
}

// dialMany connects n clients, reports that, and lets them check their streams or wait for the end
// of standard input.
func dialMany(t *testing.T, h how, n int, follow bool) {
	var list []*reader
	for i := range n {
		c, err := connect(h, uint64(i+1)<<32|0xFADE, 100)
		if err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		list = append(list, c)
	}
	fmt.Println("\ndialled")
	if follow {
		if err := all(list, (*reader).follow); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("\nready")
	if follow {
		if err := all(list, (*reader).whole); err != nil {
			t.Fatal(err)
		}
		notes := uint64(0)
		for _, c := range list {
			notes += c.next - 1
		}
		fmt.Printf("\nnotes %d\n", notes)
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent
	for _, c := range list {
		c.Close()
	}
}

// starve is a server that runs out of descriptors.
func starve(t *testing.T, engine string, files int) {
	mode, err := transport.ParseMode(engine)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(files), Max: uint64(files)}); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, options{engine: mode, heartbeat: 100 * time.Millisecond})
	fmt.Printf("\nready %s %s\n", r.tcp.address, r.unix.address)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() == "shut" {
			r.shutGate()
		} else {
			r.openGate()
		}
		fmt.Printf("\n%s\n", in.Text())
	}
	fmt.Printf("\npauses %d\n", r.listener.Counters().AcceptPauses)
	r.drain()
}

// child is a running child process.
type child struct {
	t     testing.TB
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
	said  []string
}

// spawn starts a child in a role.
func spawn(t testing.TB, role ...any) *child {
	t.Helper()
	c := &child{t: t, cmd: exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.timeout=2h")}
	c.cmd.Env = append(os.Environ(), roleEnv+"="+strings.TrimSuffix(fmt.Sprintln(role...), "\n"))
	c.cmd.Stderr = os.Stderr
	c.cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL} // no child survives a test that is killed
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.in, c.lines = in, bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.cmd.ProcessState == nil {
			_ = c.cmd.Process.Kill() // the test has failed before the child ended
			_ = c.cmd.Wait()
		}
	})
	return c
}

// hear waits for a line that begins with a word and returns the words behind it.
func (c *child) hear(word string) []string {
	c.t.Helper()
	for c.lines.Scan() {
		if words := strings.Fields(c.lines.Text()); len(words) > 0 && words[0] == word {
			return words[1:]
		}
		c.said = append(c.said, c.lines.Text())
	}
	c.t.Fatalf("the child ended without the line %q:\n%s", word, strings.Join(c.said, "\n"))
	return nil
}

// tell sends the child a word and waits until it repeats the word.
func (c *child) tell(word string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.in, word); err != nil {
		c.t.Fatal(err)
	}
	c.hear(word)
}

// signal sends the child a signal.
func (c *child) signal(s os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// end lets the child finish; the test fails if the child did.
func (c *child) end() {
	c.t.Helper()
	c.in.Close()
	for c.lines.Scan() {
		c.said = append(c.said, c.lines.Text())
	}
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("the child: %v\n%s", err, strings.Join(c.said, "\n"))
	}
}

// needFiles skips a trial that the descriptor limit does not allow.
func needFiles(t testing.TB, n int) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur < uint64(n) {
		t.Skipf("%d descriptors are needed, the limit (RLIMIT_NOFILE) is %d", n, limit.Cur)
	}
}
