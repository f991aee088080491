package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be a sluice, so that tests run it as a process with flags, signals
// and an exit code.
func TestMain(m *testing.M) {
	if os.Getenv("BE_A_SLUICE") != "" {
		main()
	}
	os.Setenv("BE_A_SLUICE", "1") // for every child
	os.Exit(m.Run())
}

const patience = time.Minute // limit for steps that take milliseconds on an idle machine

// output collects the output of a process. Tests wait for words in it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer  // guarded by mu
	more chan struct{} // closed and replaced by Write, guarded by mu
}

func newOutput() *output { return &output{more: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.more)
	o.more = make(chan struct{})
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await waits until the words are in the output.
func (o *output) await(t *testing.T, words string) {
	t.Helper()
	o.awaitTimes(t, words, 1)
}

// awaitTimes waits until the words are in the output n times.
func (o *output) awaitTimes(t *testing.T, words string, n int) {
	t.Helper()
	limit := time.After(patience)
	for {
		o.mu.Lock()
		found, more := strings.Count(o.text.String(), words) >= n, o.more
		o.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-limit:
			t.Fatalf("%q is not in the output:\n%s", words, o)
		}
	}
}

// process is a running sluice.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    *output
	err    *output
	exited chan struct{}
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0], args...), out: newOutput(), err: newOutput(),
		exited: make(chan struct{})}
	p.cmd.Stderr = p.err
	p.run()
	return p
}

// run starts the command of a process. The caller has set its standard error, and its standard
// output if that is not out.
func (p *process) run() {
	t := p.t
	t.Helper()
	if p.cmd.Stdout == nil {
		p.cmd.Stdout = p.out
	}
	if p.cmd.SysProcAttr == nil {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	p.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // a server ends with a killed test
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.exited) }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
	})
}

// serving starts a server and returns its TCP address.
func serving(t *testing.T, dir string, args ...string) (p *process, address string) {
	t.Helper()
	p = start(t, append([]string{"serve", "--data-dir", dir, "--listen-tcp", "127.0.0.1:0",
		"--admin-address", "127.0.0.1:0"}, args...)...)
	return p, p.address()
}

// address waits until the server listens and returns its TCP address.
func (p *process) address() string {
	p.t.Helper()
	p.out.await(p.t, "kill drains")
	_, rest, _ := strings.Cut(p.out.String(), "tcp ")
	line, _, _ := strings.Cut(rest, "\n")
	address, _, _ := strings.Cut(line, ",")
	return address
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// code waits until the process ends and returns the exit code.
func (p *process) code() int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("the process did not end; its output:\n%s\n%s", p.out, p.err)
		return -1
	}
}

// ends waits until the process ends, and checks exit code and standard error.
func (p *process) ends(want int, words ...string) {
	p.t.Helper()
	got := p.code()
	if got != want {
		p.t.Errorf("exit code %d, want %d; standard error:\n%s", got, want, p.err)
	}
	for _, w := range words {
		if !strings.Contains(p.err.String(), w) {
			p.t.Errorf("standard error lacks %q:\n%s", w, p.err)
		}
	}
}

// client runs a request in this process and returns what it wrote and its exit code.
func ask(t *testing.T, address, stdin string, args ...string) (out string, code int) {
	t.Helper()
	var both bytes.Buffer
	e := &env{stdin: strings.NewReader(stdin), stdout: &both, stderr: &both}
	code = run(e, append([]string{"client", "--address", address, "--timeout", "20s"}, args...))
	return both.String(), code
}

// expect checks the response to a request.
func expect(t *testing.T, address string, code int, request string, words ...string) {
	t.Helper()
	out, got := ask(t, address, "", strings.Fields(request)...)
	if got != code {
		t.Errorf("%s: exit code %d, want %d:\n%s", request, got, code, out)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			t.Errorf("%s: the response lacks %q:\n%s", request, w, out)
		}
	}
}

func TestServerTradesAndJournals(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	socket := filepath.Join(t.TempDir(), "s")
	p, address := serving(t, dir, "--listen-unix", socket)
	expect(t, address, 0, "sell 3 10 @ 101", "accepted   #1")
	expect(t, socket, 0, "buy 3 4 @ 105 ioc --account 2", "fill       #1", "bought      4 @ 101",
		"0 open", "taking")
	expect(t, address, 0, "top 3", "bid none", "ask 6 @ 101 (1 order)")
	expect(t, address, 0, "replace 1 12 @ 102", "replaced   #1", "now 12 @ 102, 8 open")
	expect(t, address, 1, "cancel 9", "rejected   #3", "no such open order", "not executed")
	expect(t, address, 1, "sell 3 1 @ 1 --id 2", "rejected   #2", "not above the last one")
	expect(t, address, 0, "position 3 --json", `"net":-4`, `"last_client_order_id":3`,
		`"type":"position"`)
	expect(t, address, 0, "buy 3 1", "accepted   #4", "cancelled  #4", "nothing left to trade with")
	expect(t, address, exitUsage, "buy 3", "QUANTITY is missing")

	p.signal(syscall.SIGUSR1)
	p.err.await(t, "journal_commits")
	p.signal(syscall.SIGTERM)
	p.ends(0, "draining", "drained in", "stage ", "whole ")

	list, problems, code := local("journal", "list", "--data-dir", dir)
	if code != 0 {
		t.Error(problems)
	}
	if out, problems, code := local("journal", "list", "--from", "900", "--data-dir", dir); code != 0 || out != "" ||
		problems != "no events in that range\n" {
		t.Errorf("an empty range: exit code %d, %s%s", code, out, problems)
	}
	var requests []string
	events := 0
	for line := range strings.Lines(list) {
		if events++; strings.Contains(line, " request ") {
			requests = append(requests, strings.TrimSpace(line))
		}
	}
	for i, want := range []string{"sell 3 10 @ 101", "buy 3 4 @ 105 ioc", "replace 1 12 @ 102",
		"cancel 9", "sell 3 1 @ 1", "buy 3 1"} {
		if len(requests) != 6 || !strings.HasSuffix(requests[i], want) {
			t.Errorf("request %d is not %q:\n%s", i+1, want, list)
		}
	}
	out, problems, code := local("journal", "verify", "--data-dir", dir)
	if code != 0 || !strings.Contains(out, fmt.Sprintf("events      1 to %d: %[1]d events, ", events)) ||
		!strings.Contains(out, "6 request") {
		t.Errorf("exit code %d:\n%s%s", code, out, problems)
	}

	p, address = serving(t, dir)
	if !strings.Contains(p.out.String(), fmt.Sprintf("at event %d\n", events)) {
		t.Errorf("the position of the journal is missing:\n%s", p.out)
	}
	expect(t, address, 0, "position 3", "net -4", "last #4")
}

func TestWatchSendsRequestsAndPrintsResponses(t *testing.T) {
	_, address := serving(t, t.TempDir())
	out, code := ask(t, address,
		"sell 1 5 @ -7\n# a remark\n\nsel 1 5\nhelp\ntop 1\nquit\nbuy 1 5\n", "watch", "--account", "9")
	for _, want := range []string{"as account 9, last #0", "accepted   #1", "did you mean sell?",
		"INSTRUMENT QUANTITY", "ask 5 @ -7 (1 order)", "completed in"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if code != 0 || strings.Contains(out, "#2") {
		t.Errorf("exit code %d, or a request after quit was sent:\n%s", code, out)
	}
	out, _ = ask(t, address, "top 1\n", "watch", "--json")
	if !strings.Contains(out, `"ask":{"orders":1,"price":-7,"quantity":5},"bid":null`) {
		t.Error(out)
	}
}

// The only response to a shed request is ServerBusy, so the client does not wait for more.
func TestClientReportsAShedRequest(t *testing.T) {
	_, address := serving(t, t.TempDir(), "--request-rate", "0.001/1")
	for _, v := range []struct{ request, input, want string }{
		{"buy 1 1", "", "not executed"}, // asks for the last id first
		{"watch", "top 1\ntop 1\n", "the server shed the request"},
	} {
		out, _ := ask(t, address, v.input, strings.Fields(v.request)...)
		if !strings.Contains(out, v.want) || strings.Contains(out, "within") {
			t.Errorf("%s: want %q without waiting for a response:\n%s", v.request, v.want, out)
		}
	}
	expect(t, address, 0, "top 1")
}

func TestSIGHUPReloadsLimits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	put := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("soft-limit: 64KiB\nstats-file: " + path + ".json\n")
	p, _ := serving(t, t.TempDir(), "--config", path)
	put("soft-limit: 128KiB\nshards: 3\n")
	p.signal(syscall.SIGHUP)
	p.err.await(t, "soft=128KiB")
	p.err.await(t, "changed settings need a restart")
	put("soft-limit: 9MiB\n")
	p.signal(syscall.SIGHUP)
	p.err.await(t, "reload of limits rejected; limits unchanged")
	p.signal(syscall.SIGTERM)
	p.ends(0)
	if text, err := os.ReadFile(path + ".json"); err != nil ||
		!bytes.Contains(text, []byte(`"engine"`)) {
		t.Errorf("measurements: %v\n%s", err, text)
	}
}

// waitEnv makes TestChildOfAKilledTest start a server and wait to be killed.
const waitEnv = "SLUICE_TEST_WAITS"

func TestChildOfAKilledTest(t *testing.T) {
	if os.Getenv(waitEnv) == "" {
		return // an ordinary run
	}
	p, _ := serving(t, t.TempDir())
	fmt.Println("server", p.cmd.Process.Pid)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// A test that is killed leaves no server behind.
func TestServersEndWithAKilledTest(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestChildOfAKilledTest$", "-test.v")
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "BE_A_SLUICE=") }),
		waitEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out := newOutput()
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.await(t, "server ")
	var pid int
	until(t, "the number of the server", func() error {
		_, text, _ := strings.Cut(out.String(), "server ")
		_, err := fmt.Sscanf(text, "%d\n", &pid)
		return err
	})
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // killed
	until(t, "the end of the server", func() error {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && !strings.Contains(string(state), ") Z ") { // a zombie has ended; no parent waits for it
			return fmt.Errorf("%s", state)
		}
		return nil
	})
}
