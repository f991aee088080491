package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fullPipe returns both ends of a pipe that has no room left, as the log of a server whose reader
// has stalled.
func fullPipe(t *testing.T) (reader, writer *os.File) {
	t.Helper()
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	reader, writer = os.NewFile(uintptr(ends[0]), "reader"), os.NewFile(uintptr(ends[1]), "writer")
	t.Cleanup(func() { reader.Close(); writer.Close() })
	if err := unix.SetNonblock(ends[1], true); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{4096, 1} {
		for {
			_, err := unix.Write(ends[1], make([]byte, size))
			if err == unix.EAGAIN {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := unix.SetNonblock(ends[1], false); err != nil {
		t.Fatal(err)
	}
	return reader, writer
}

// stoppedTerminal returns a terminal as it is after ctrl-S.
func stoppedTerminal(t *testing.T) *os.File {
	t.Helper()
	far, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("this system has no pseudoterminals: %v", err)
	}
	t.Cleanup(func() { far.Close() })
	if err := unix.IoctlSetPointerInt(int(far.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skipf("cannot unlock a pseudoterminal: %v", err)
	}
	number, err := unix.IoctlGetUint32(int(far.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	near, err := os.OpenFile("/dev/pts/"+strconv.FormatUint(uint64(number), 10), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("cannot open a pseudoterminal: %v", err)
	}
	t.Cleanup(func() { near.Close() })
	if err := unix.IoctlSetInt(int(near.Fd()), unix.TCXONC, unix.TCOOFF); err != nil {
		t.Fatal(err)
	}
	return near
}

// servingBlocked starts a server whose outputs are files, nil for outputs that are read, and waits
// until it serves at the socket.
func servingBlocked(t *testing.T, stdout, stderr *os.File, args ...string) (p *process, socket string) {
	t.Helper()
	dir := t.TempDir()
	socket = filepath.Join(dir, "s")
	p = &process{t: t, out: newOutput(), err: newOutput(), exited: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], append([]string{"serve", "--data-dir", filepath.Join(dir, "data"),
		"--listen-tcp", "", "--listen-unix", socket, "--admin-address", "127.0.0.1:0", "--drain", "10s"},
		args...)...)
	p.cmd.Stderr = p.err
	if stderr != nil {
		p.cmd.Stderr = stderr
	}
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	p.run()
	if stdout == nil {
		p.out.await(t, "kill drains")
	}
	until(t, "a server that answers", func() error {
		select {
		case <-p.exited:
			t.Fatalf("the server ended:\n%s", p.err)
		default:
		}
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err
	})
	return p, socket
}

// strays connects clients that do not speak the protocol. Some of them are logged.
func strays(t *testing.T, socket string, n int) {
	t.Helper()
	for range n {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil && !errors.Is(err, syscall.EPIPE) &&
			!errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, c) // until the server has closed it
		c.Close()
	}
}

// A log that is not read costs lines. Clients, reports, reloads and SIGTERM do not wait for it.
func TestServesWhileItsOutputIsNotRead(t *testing.T) {
	pipe := func(t *testing.T) *os.File { _, w := fullPipe(t); return w }
	for _, v := range []struct {
		name           string
		stdout, stderr func(*testing.T) *os.File
	}{
		{"standard error is a full pipe", nil, pipe},
		{"standard output is a full pipe", pipe, nil},
		{"both are full pipes", pipe, pipe},
		{"standard error is a terminal after ctrl-S", nil, stoppedTerminal},
	} {
		t.Run(v.name, func(t *testing.T) {
			var stdout, stderr *os.File
			if v.stdout != nil {
				stdout = v.stdout(t)
			}
			if v.stderr != nil {
				stderr = v.stderr(t)
			}
			p, socket := servingBlocked(t, stdout, stderr)
			strays(t, socket, 30)
			for range 50 {
				p.signal(syscall.SIGUSR1)
				p.signal(syscall.SIGHUP)
			}
			strays(t, socket, 30)
			expect(t, socket, 0, "sell 3 10 @ 101", "accepted   #1")
			expect(t, socket, 0, "buy 3 4 @ 105 ioc --account 2", "fill       #1")
			began := time.Now()
			p.signal(syscall.SIGTERM)
			if code := p.code(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if took := time.Since(began); took > 10*time.Second+stopFor+flushFor {
				t.Errorf("the end took %v", took)
			}
		})
	}
}

// The second SIGTERM stops a server that cannot drain, and the third one ends it, whatever it waits
// for, although no line about them can be written.
func TestSignalsActBeforeTheyPrint(t *testing.T) {
	_, stderr := fullPipe(t)
	p, socket := servingBlocked(t, nil, stderr, "--policy", "hybrid", "--force-policy", "--drain", "1h")
	start(t, "client", "--address", socket, "--timeout", "1h", "buy", "1", "1", "--id", "1")
	until(t, "an order", p.metric("sluice_sequencer_events_total", "1"))
	p.signal(syscall.SIGTERM)
	until(t, "an end that has begun", func() error {
		if status, text := get(t, "http://"+p.page()+"/readyz", "*/*"); status != 503 {
			return fmt.Errorf("%d %s", status, text)
		}
		return nil
	})
	<-time.After(2 * sameSignal) // a sooner one is an echo
	p.signal(syscall.SIGTERM)
	if code := p.code(); code != 1 {
		t.Errorf("exit code %d", code)
	}
}

// The console exporters write to standard output, which may block as well.
func TestConsoleExportersDoNotWaitForStandardOutput(t *testing.T) {
	t.Setenv("OTEL_METRICS_EXPORTER", "console")
	t.Setenv("OTEL_TRACES_EXPORTER", "console")
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "500") // of the queue's 512 KiB, an export fills 70
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
	_, stdout := fullPipe(t)
	blocked, socket := servingBlocked(t, stdout, nil)
	p, address := serving(t, t.TempDir())
	expect(t, address, 0, "sell 3 10 @ 101", "accepted   #1")
	p.out.await(t, `"Name":"sluice.log.dropped"`) // which comes last, and is about 0 lines
	p.out.await(t, `"SpanContext"`)
	for range 20 {
		expect(t, socket, 0, "sell 3 10 @ 101", "accepted")
	}
	blocked.signal(syscall.SIGTERM)
	blocked.ends(0, "drained in")
	p.signal(syscall.SIGTERM)
	if p.ends(0, "drained in"); strings.Contains(p.err.String(), "lines dropped") || strings.Contains(p.out.String(), "lines dropped") {
		t.Errorf("lines are lost although they are read:\n%s", p.err)
	}
}

// What is lost is counted at /metrics, and reported in the log once it is read again.
func TestLostLinesAreMeasured(t *testing.T) {
	reader, stderr := fullPipe(t)
	p, socket := servingBlocked(t, nil, stderr)
	until(t, "lost lines", func() error {
		p.signal(syscall.SIGUSR1)
		text := p.scraped(`sluice_log_dropped_total{kind="text"}`)
		if n, err := strconv.ParseFloat(text, 64); err != nil || n == 0 {
			return fmt.Errorf("got %q", text)
		}
		return nil
	})
	go func() { _, _ = io.Copy(p.err, reader) }() // until the server has ended
	p.err.await(t, "log lines dropped")
	expect(t, socket, 0, "sell 3 10 @ 101", "accepted   #1")
	p.signal(syscall.SIGTERM)
	stderr.Close()
	p.err.await(t, "drained in")
	if code := p.code(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// --stats-file on a file system that hangs: the temporary file is a FIFO without a reader.
func TestHungStatsFileHoldsNothingUp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stats")
	if err := syscall.Mkfifo(file+".tmp", 0o600); err != nil {
		t.Fatal(err)
	}
	p, socket := servingBlocked(t, nil, nil, "--stats-file", file)
	for n := range 3 {
		p.signal(syscall.SIGUSR1)
		p.err.awaitTimes(t, "sequencer_waits", n+1)
	}
	expect(t, socket, 0, "sell 3 10 @ 101", "accepted   #1")
	p.signal(syscall.SIGTERM)
	p.ends(0, "drained in", "measurements not written in time")
}

// A reload reads regular files only: a FIFO would hang, and a directory or a device is a mistake.
func TestReloadRefusesFilesThatAreNotRegular(t *testing.T) {
	dir := t.TempDir()
	file, keys := filepath.Join(dir, "sluice.yaml"), filepath.Join(dir, "keys")
	line, problems, code := local("client", "keygen", filepath.Join(dir, "key"))
	if code != 0 {
		t.Fatal(problems)
	}
	good := func() {
		for path, text := range map[string]string{file: "soft-limit: 64KiB\n", keys: line} {
			_ = os.RemoveAll(path)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	good()
	p, _ := serving(t, filepath.Join(dir, "data"), "--config", file, "--authorized-keys", keys)
	rejected := 0
	for _, path := range []string{file, keys} {
		for name, replace := range map[string]func() error{
			"FIFO":      func() error { return syscall.Mkfifo(path, 0o600) },
			"directory": func() error { return os.Mkdir(path, 0o700) },
			"device":    func() error { return os.Symlink("/dev/zero", path) },
		} {
			good()
			if err := errors.Join(os.Remove(path), replace()); err != nil {
				t.Fatal(name, err)
			}
			p.signal(syscall.SIGHUP)
			rejected++
			p.err.awaitTimes(t, "is not a regular file", rejected)
		}
	}
	good()
	p.signal(syscall.SIGHUP)
	p.err.await(t, "soft=64KiB")
	p.signal(syscall.SIGTERM)
	p.ends(0)
}

// SIGHUP and SIGUSR1 that come during the start are handled after it.
func TestSignalsDuringTheStartAreHandledAfterIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "serve", "--data-dir", t.TempDir(), "--listen-tcp", "127.0.0.1:0", "--admin-address", "",
		"--config", file)
	f, err := os.OpenFile(file, os.O_WRONLY, 0) // returns once the server reads
	if err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	p.signal(syscall.SIGUSR1)
	if _, err := f.WriteString("soft-limit: 64KiB\n"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	p.err.await(t, "sequencer_waits")
	p.err.await(t, "reload of limits rejected") // the file is a FIFO
	p.signal(syscall.SIGTERM)
	p.ends(0, "drained in")
}

// The kernel does not end process 1 of a container by a signal, so a start that is ended by one
// exits with the number that a shell reports for it.
func TestSignalEndsTheStartOfProcessOne(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	if err := syscall.Mkfifo(keys, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, out: newOutput(), err: newOutput(), exited: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], "serve", "--data-dir", t.TempDir(), "--listen-tcp", "127.0.0.1:0",
		"--admin-address", "", "--authorized-keys", keys)
	p.cmd.Stderr = p.err
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	if err := exec.Command("unshare", "--user", "--pid", "--fork", "true").Run(); err != nil {
		t.Skipf("this system lets tests make no PID namespaces: %v", err)
	}
	p.run()
	f, err := os.OpenFile(keys, os.O_WRONLY, 0) // returns once the server reads
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p.signal(syscall.SIGTERM)
	if code := p.code(); code != 128+int(syscall.SIGTERM) {
		t.Errorf("exit code %d:\n%s", code, p.err)
	}
}

// With --log-format json every line of standard error is a JSON object: the lines of the program,
// the measurements, those of the SDK about a collector that is not there, and the last error.
func TestEveryLineIsJSON(t *testing.T) {
	for protocol, closed := range map[string]string{"http/protobuf": freeAddress(t), "grpc": freeAddress(t)} {
		t.Run(protocol, func(t *testing.T) {
			exporting(t, closed, protocol)
			t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
			p, address := serving(t, t.TempDir(), "--log-format", "json", "--policy", "hybrid",
				"--force-policy", "--drain", "1s")
			start(t, "client", "--address", address, "--timeout", "1h", "buy", "1", "1", "--id", "1")
			until(t, "an order", p.metric("sluice_sequencer_events_total", "1"))
			p.err.await(t, "telemetry export failed")
			p.signal(syscall.SIGUSR1)
			p.err.await(t, `"msg":"measurements"`)
			p.signal(syscall.SIGTERM)
			p.ends(1, "draining for at most", "responses unsent", `"name":"sequencer_waits"`)
			lines := bufio.NewScanner(strings.NewReader(p.err.String()))
			lines.Buffer(nil, 1<<20)
			for lines.Scan() {
				var line struct {
					Time       time.Time
					Level, Msg string
				}
				if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Msg == "" || line.Level == "" ||
					line.Time.IsZero() {
					t.Errorf("%v: %s", err, lines.Text())
				}
			}
		})
	}
}
