package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/transport"
)

// TestMain lets the test's own program be the server process.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == ChildArgument {
		if err := Child(os.Stdin, os.Stdout, Servers()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func runner(t testing.TB) *Runner {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &Runner{Command: []string{program, ChildArgument}, Receivers: 2, Stderr: os.Stderr}
}

func needUring(t *testing.T) {
	ring, diagnosis, err := transport.Open(transport.ModeUring,
		transport.RingConfig{Entries: 8, Wake: func() {}})
	if err != nil {
		t.Skip("io_uring is not available here: " + diagnosis.Text)
	}
	ring.Close()
}

func TestRunDeliversEverything(t *testing.T) {
	base := Spec{
		Server: "sluice", IO: "poll", Net: "tcp", Connections: 5, Rate: 2000, Frame: 64, Shards: 2,
		Placement: "auto",
		Idle:      "adaptive", Warm: 50 * time.Millisecond, Run: 300 * time.Millisecond, Window: 1 << 14,
	}
	with := func(change func(*Spec)) Spec {
		s := base
		change(&s)
		return s
	}
	for _, tt := range []struct {
		name string
		spec Spec
	}{
		{"portable engine over TCP", base},
		{"io_uring over TCP", with(func(s *Spec) { s.IO = "uring" })},
		{"portable engine over unix sockets, large frames",
			with(func(s *Spec) { s.Net, s.Frame = "unix", 5000 })},
		{"io_uring at full speed", with(func(s *Spec) { s.IO, s.Rate = "uring", 0 })},
		{"goroutines over TCP", with(func(s *Spec) { s.Server = "goroutines" })},
		{"goroutines at full speed over unix sockets",
			with(func(s *Spec) { s.Server, s.Rate, s.Net = "goroutines", 0, "unix" })},
		{"io_uring with clients that never read", with(func(s *Spec) { s.IO, s.Stalled = "uring", 2 })},
		{"portable engine with clients that never read", with(func(s *Spec) { s.Stalled = 2 })},
		{"portable engine over TLS", with(func(s *Spec) { s.Net = "tls" })},
		{"io_uring over TLS at full speed, frames larger than a record",
			with(func(s *Spec) { s.Net, s.IO, s.Rate, s.Frame, s.Window = "tls", "uring", 0, 20000, 2048 })},
		{"goroutines over TLS", with(func(s *Spec) { s.Server, s.Net = "goroutines", "tls" })},
		{"goroutines over TLS at full speed",
			with(func(s *Spec) { s.Server, s.Net, s.Rate = "goroutines", "tls", 0 })},
		{"goroutines with clients that never read",
			with(func(s *Spec) { s.Server, s.Stalled = "goroutines", 1 })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.spec.IO == "uring" {
				needUring(t)
			}
			res := measured(t, tt.spec)
			if res.Faults != (Faults{}) || res.Sent == 0 {
				t.Errorf("faults %v in %d frames; %s", res.Faults, res.Sent, res.First)
			}
			if tt.spec.IO != "" && tt.spec.Server == "sluice" && res.Engine != tt.spec.IO {
				t.Errorf("engine %q, asked for %q", res.Engine, tt.spec.IO)
			}
			if tt.spec.Stalled > 0 && tt.spec.Server == "sluice" && res.refused() > 10 {
				t.Errorf("%.1f refused sends per second and stalled client: its sends are "+
					"retried, not polled", res.refused())
			}
		})
	}
}

// measured runs the spec, longer each time, until every figure was measured, because a slow machine
// starts slowly.
func measured(t *testing.T, spec Spec) *Result {
	for ; ; spec.Run *= 2 {
		res, err := runner(t).measure(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if res.InTime > 0 && res.Frames > 0 && res.P50 > 0 && res.Counts.Sends > 0 &&
			res.Server.cpu() > 0 && res.Clients.cpu() > 0 {
			return res
		}
		if spec.Run > 5*time.Second {
			t.Fatalf("a figure was not measured: %+v", res)
		}
	}
}

func TestMainWritesATable(t *testing.T) {
	var out, log strings.Builder
	p := Process{Stdout: &out, Stderr: &log, Command: runner(t).Command}
	args := strings.Fields("--io poll --connections 3,4 --rate 1000 --runs 2 --seconds 100ms " +
		"--warm 20ms --stalled 0,34 --peer sluice --markdown")
	if err := Main(t.Context(), p, args); err != nil && !errors.Is(err, ErrViolated) {
		t.Fatal(err)
	}
	for _, want := range []string{"sluice bench --io poll", "Medians of 2 runs",
		"| connections | stalled |", "sluice poll K=2", "all frames of the others arrived"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if !strings.Contains(log.String(), "4 combinations, 2 runs each") {
		t.Errorf("progress was %q", log.String())
	}
}

func TestUsageErrors(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--connections many", `--connections has "many"; use numbers from 1`},
		{"--io urin", "did you mean uring?"},
		{"--io ring3", `--io has "ring3"; use `},
		{"--stalled 10 --rate 0", "name a rate"},
		{"--net tls --peer sluice,netpoll,single",
			"--peer netpoll,single: no TLS there; only sluice, slots, goroutines"},
		{"--net tcp,tls --churn 0,10", "these clients have no TLS"},
		{"--net tls --durable", "plain connections only"},
		{"--stalled 10 --connections 1", "leaves no client that reads"},
		{"--profile fast", "use quick, full, topics or tls"},
		{"--profile full --section unit", "did you mean unix?"},
		{"--congestion nonsense --runs 1 --seconds 100ms --warm 0s",
			"tcp_available_congestion_control"},
		{"--into page.md", "--into, --section and --micro are for a --profile"},
		{"--section unit", "--into, --section and --micro are for a --profile"},
		{"--topics 1 --peer goroutines", "it knows no topics"},
		{"--topics 1 --stalled 10", "--peer loop with --stalled 10"}, // the default of --peer knows topics
		{"now", "takes no arguments"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			p := Process{Stdout: io.Discard, Stderr: io.Discard, Command: runner(t).Command}
			err := Main(t.Context(), p, strings.Fields(tt.args))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestServerExitIsAnError(t *testing.T) {
	r := &Runner{Command: []string{"/bin/false"}, Receivers: 1, Stderr: io.Discard}
	if _, err := r.measure(context.Background(),
		Spec{Connections: 1, Net: "unix", Frame: 64}); err == nil {
		t.Error("no error")
	}
}

// A real receiver reads the stream of one connection with each violation.
func TestReceiversDetectViolations(t *testing.T) {
	report := func(n uint64) []byte { return AppendFrame(nil, &Report{Conn: 1, Seq: n, Size: 40}) }
	join := func(parts ...[]byte) (all []byte) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	for _, tt := range []struct {
		name      string
		stream    []byte
		published uint64
		want      Faults
	}{
		{"correct", join(report(1), report(2), report(3)), 3, Faults{}},
		{"heartbeat between frames", join(report(1), []byte{1, 0, 0, 0, 1}, report(2)), 2, Faults{}},
		{"gap", join(report(1), report(4)), 4, Faults{Gaps: 2}},
		{"gap at the start", join(report(2)), 2, Faults{Gaps: 1}},
		{"repetition", join(report(1), report(2), report(2)), 2, Faults{Repeats: 1}},
		{"reordering", join(report(1), report(3), report(2), report(4)), 4, Faults{Reorder: 1}},
		{"gap filled from the middle, then a repetition",
			join(report(1), report(5), report(3), report(3), report(4), report(2)), 5,
			Faults{Reorder: 3, Repeats: 1}},
		{"foreign frame", join(report(1), AppendFrame(nil, &Report{Conn: 2, Seq: 2, Size: 40}),
			report(2)), 2, Faults{Foreign: 1}},
		{"frame torn by another", join(report(1), report(2)[:20], report(3)), 3, Faults{Torn: 1}},
		{"frames missing at the end", join(report(1), report(2)), 5, Faults{Short: 3}},
		{"unpublished frame", join(report(1), report(2)), 1, Faults{Repeats: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := receive(t, tt.stream, tt.published)
			got.Closed = 0
			if tt.want.Torn > 0 { // frames after a tear are arbitrary
				got, tt.want = Faults{Torn: got.Torn}, Faults{Torn: tt.want.Torn}
			}
			if got != tt.want {
				t.Errorf("faults %+v, want %+v", got, tt.want)
			}
		})
	}
	t.Run("connection that ends early", func(t *testing.T) {
		if got := receive(t, report(1), 1); got.Closed != 1 {
			t.Errorf("faults %+v, want one closed early", got)
		}
	})
}

// receive sends stream in small pieces through a socket to a receiver and returns the faults that
// its checker found.
func receive(t *testing.T, stream []byte, published uint64) Faults {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	if err := unix.SetNonblock(fds[1], true); err != nil {
		t.Fatal(err)
	}
	r, err := newReceiver(newClock(), new(cell), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.file.Close()
	c := &reader{fd: fds[1], check: checker{conn: 1}}
	if err := r.add(c); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- r.run() }()
	for len(stream) > 0 {
		n, err := unix.Write(fds[0], stream[:min(7, len(stream))])
		if err != nil {
			break // the receiver closed a torn stream
		}
		stream = stream[n:]
	}
	unix.Close(fds[0])
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c.check.end(published)
	return c.check.faults
}
