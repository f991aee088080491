package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/transport"
)

func TestSecondSignalStopsAtOnce(t *testing.T) {
	p, address := serving(t, t.TempDir(), "--policy", "hybrid", "--force-policy", "--drain", "1h")
	watcher := start(t, "client", "--address", address, "--timeout", "1h", "buy", "1", "1", "--id", "1")
	p.out.await(t, "kill drains")
	awaitEvents(t, p, 1)
	p.signal(syscall.SIGTERM)
	p.err.await(t, "draining for at most 1h")
	p.err.await(t, "still draining after")
	p.signal(syscall.SIGTERM)
	p.ends(1, "terminated again: stopping now", "responses unsent")
	watcher.ends(1, "closed the connection before it responded")
}

// ctrl-C under make sends each signal twice.
func TestEchoOfTheSecondSignalIsNotTheThird(t *testing.T) {
	p, address := serving(t, t.TempDir(), "--policy", "hybrid", "--force-policy", "--drain", "1h")
	for _, id := range []string{"1", "2"} {
		start(t, "client", "--address", address, "--timeout", "1h", "buy", "1", "1", "--id", id)
	}
	awaitEvents(t, p, 2)
	p.signal(syscall.SIGTERM)
	p.err.await(t, "still draining after") // after the time of an echo
	p.signal(syscall.SIGSTOP)              // both signals are pending when the process continues
	p.signal(syscall.SIGTERM)
	p.signal(syscall.SIGINT) // in place of a second SIGTERM: a signal is pending only once
	p.signal(syscall.SIGCONT)
	if p.ends(1, "again: stopping now", "responses unsent"); strings.Contains(p.err.String(),
		"third time") {
		t.Errorf("the echo was counted:\n%s", p.err)
	}
}

// A server that does not serve yet has no responses to send. The first signal ends it, whatever it
// waits for.
func TestSignalEndsAHungStart(t *testing.T) {
	for name, test := range map[string]struct {
		before string // what the shell does that starts the server
		signal syscall.Signal
		code   int
	}{
		"SIGTERM":           {"", syscall.SIGTERM, -1}, // ended by the signal
		"SIGINT":            {"", syscall.SIGINT, -1},
		"an ignored SIGINT": {"trap '' INT; ", syscall.SIGINT, 128 + int(syscall.SIGINT)},
	} {
		t.Run(name, func(t *testing.T) { testHungStart(t, test.before, test.signal, test.code) })
	}
}

func testHungStart(t *testing.T, before string, signal syscall.Signal, want int) {
	keys := filepath.Join(t.TempDir(), "keys")
	if err := syscall.Mkfifo(keys, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, out: newOutput(), err: newOutput(), exited: make(chan struct{})}
	p.cmd = exec.Command("/bin/sh", "-c", before+`exec "$0" "$@"`, os.Args[0], "serve", "--data-dir", t.TempDir(),
		"--listen-tcp", "127.0.0.1:0", "--admin-address", "", "--authorized-keys", keys)
	p.cmd.Stderr = p.err
	p.run()
	f, err := os.OpenFile(keys, os.O_WRONLY, 0) // returns once the server reads, which then finds an empty file
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p.signal(signal)
	if code := p.code(); code != want {
		t.Errorf("exit code %d, want %d:\n%s", code, want, p.err)
	}
}

// The reader of the log has ended. The server continues, and writes its measurements to the file.
func TestServerSurvivesClosedStandardError(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	measured := filepath.Join(t.TempDir(), "stats")
	p := &process{t: t, out: newOutput(), err: newOutput(), exited: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], "serve", "--data-dir", t.TempDir(), "--listen-tcp",
		"127.0.0.1:0", "--admin-address", "", "--stats-file", measured)
	p.cmd.Stderr = writer
	p.run()
	writer.Close()
	address := p.address()
	reader.Close()
	p.signal(syscall.SIGUSR1) // lets it write
	until(t, "measurements", func() error {
		_, err := os.Stat(measured)
		return err
	})
	if out, code := ask(t, address, "", "buy", "1", "1", "--id", "1"); code != 0 {
		t.Errorf("order after that: %d\n%s", code, out)
	}
	if err := os.Remove(measured); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	p.ends(0)
	if _, err := os.Stat(measured); err != nil {
		t.Errorf("no measurements at the end: %v", err)
	}
}

// awaitEvents requests measurements until the server has sequenced that number of orders.
func awaitEvents(t *testing.T, p *process, orders int) {
	t.Helper()
	limit, all := time.Now().Add(patience), regexp.MustCompile(fmt.Sprintf(`(?m)^sequencer_events +%d `, orders))
	for n := 1; !all.MatchString(p.err.String()); n++ {
		if time.Now().After(limit) {
			text := p.err.String()
			t.Fatalf("%d orders are not sequenced; the last measurements:\n%s", orders,
				text[max(0, len(text)-6000):])
		}
		p.signal(syscall.SIGUSR1)
		p.err.awaitTimes(t, "sequencer_waits", n)
	}
}

func TestDrainEndsAtItsDeadline(t *testing.T) {
	p, address := serving(t, t.TempDir(), "--policy", "hybrid", "--force-policy", "--drain", "600ms")
	start(t, "client", "--address", address, "--timeout", "1h", "buy", "1", "1", "--id", "1")
	awaitEvents(t, p, 1)
	p.signal(syscall.SIGINT)
	p.ends(1, "interrupt: draining for at most 600ms", "responses unsent")
}

// SIGTERM ends the process even if the gate is closed, handshakes and a request to the admin pages
// are incomplete, and a collector accepts connections but does not respond.
func TestDrainEndsInTheWorstState(t *testing.T) {
	collector, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+collector.Addr().String())
	t.Setenv("OTEL_METRICS_EXPORTER", "otlp,prometheus")
	for _, engine := range []transport.Mode{transport.ModeUring, transport.ModePoll} {
		t.Run(engine.String(), func(t *testing.T) {
			ring, diagnosis, err := transport.Open(engine,
				transport.RingConfig{Entries: 8, Wake: func() {}})
			if err != nil {
				t.Skipf("engine %s is not available here: %s", engine, diagnosis.Text)
			}
			if err := ring.Close(); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			key := filepath.Join(dir, "key")
			line, problems, code := local("client", "keygen", key)
			if code != 0 {
				t.Fatal(problems)
			}
			if err := os.WriteFile(filepath.Join(dir, "keys"), []byte(line), 0o600); err != nil {
				t.Fatal(err)
			}
			p, address := serving(t, dir, "--io", engine.String(), "--authorized-keys",
				filepath.Join(dir, "keys"), "--policy", "hybrid", "--force-policy", "--drain", "600ms")
			start(t, "client", "--address", address, "--timeout", "1h", "buy", "1", "1", "--id", "1", "--key", key)
			awaitEvents(t, p, 1)
			for at, begin := range map[string]string{address: "\x69\x00\x00",
				p.page(): "GET / HTTP/1.1\r\nHost: 127"} {
				for range 10 {
					c, err := net.Dial("tcp", at)
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					if _, err := c.Write([]byte(begin)); err != nil {
						t.Fatal(err)
					}
				}
			}
			began := time.Now()
			p.signal(syscall.SIGTERM)
			p.ends(1, "draining for at most 600ms", "responses unsent",
				"not everything that was measured was exported")
			if took := time.Since(began); took > patience/2 { // allows for a busy machine; TestTimeLeftAfterADrain is exact
				t.Errorf("shutdown took %v", took)
			}
		})
	}
}

// Shutdown after the server has ended may take the time left of the drain, and a short time if none
// is left.
func TestTimeLeftAfterADrain(t *testing.T) {
	now := time.Now()
	for _, v := range []struct{ until, want time.Time }{
		{now.Add(time.Hour), now.Add(time.Hour)}, {now.Add(lastExport), now.Add(lastExport)},
		{now, now.Add(lastExport)}, {now.Add(-time.Hour), now.Add(lastExport)}, {},
	} {
		ctx, cancel := (&service{until: v.until}).remaining(now)
		if at, bounded := ctx.Deadline(); !at.Equal(v.want) || bounded == v.want.IsZero() {
			t.Errorf("until %v: %v, want %v", v.until.Sub(now), at.Sub(now), v.want.Sub(now))
		}
		cancel()
	}
}

// Behind a balancer, readiness turns 503 before any client is rejected. A second signal drains at once.
func TestDrainDelayServesClientsThatAreNotReady(t *testing.T) {
	p, address := serving(t, t.TempDir(), "--drain-delay", "1h")
	p.out.await(t, "kill drains")
	p.signal(syscall.SIGTERM)
	p.err.await(t, "draining in 1h")
	if status, text := get(t, "http://"+p.page()+"/readyz", "*/*"); status != 503 || !strings.HasPrefix(text, "not ready: a drain follows\n") {
		t.Errorf("/readyz: %d %s", status, text)
	}
	if out, problems, code := local("admin", "--admin-address", p.page(), "ready"); code != 1 || problems != "" ||
		!strings.HasPrefix(out, "not ready: a drain follows\n") {
		t.Errorf("admin ready: exit code %d, %s%s", code, out, problems)
	}
	if out, problems, code := local("admin", "--admin-address", p.page(), "connections"); code != 0 ||
		out != "0 open connections\n" {
		t.Errorf("admin connections: exit code %d, %s%s", code, out, problems)
	}
	if out, code := ask(t, address, "", "buy", "1", "1", "--id", "1"); code != 0 {
		t.Errorf("a new client is not served: %d\n%s", code, out)
	}
	for deadline := time.Now().Add(sameSignal); time.Now().Before(deadline); {
		get(t, "http://"+p.page()+"/readyz", "*/*") // a signal that comes earlier is an echo
	}
	p.signal(syscall.SIGTERM)
	p.ends(0, "draining for at most", "drained in")
}
