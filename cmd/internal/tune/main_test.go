package tune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/cmd/internal/bench"
	"sluice/cmd/internal/config"
)

// TestMain lets the test's own program be the server process and the program that Pin starts.
func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == bench.ChildArgument:
		err = bench.Child(os.Stdin, os.Stdout, bench.Servers())
	case len(os.Args) > 1 && os.Args[1] == PinArgument:
		err = Pin(os.Args[2:], os.Environ())
	case len(os.Args) > 1 && os.Args[1] == "cpus":
		fmt.Println(cpuList(cpusOf(0)), runtime.NumCPU())
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// cpusOf returns the CPUs of a thread.
func cpusOf(thread int) (cpus []int) {
	var set unix.CPUSet
	if unix.SchedGetaffinity(thread, &set) == nil {
		for c := range 1024 {
			if set.IsSet(c) {
				cpus = append(cpus, c)
			}
		}
	}
	return cpus
}

func process(out, log *strings.Builder) Process {
	return Process{Stdout: out, Stderr: log, Command: []string{os.Args[0], bench.ChildArgument},
		Pin: []string{os.Args[0], PinArgument}}
}

const quick = "--io poll --connections 3 --rate 1000 --runs 1 --seconds 100ms --warm 20ms"

func TestMainPrintsTableAndAdvice(t *testing.T) {
	var out, log strings.Builder
	if err := Main(t.Context(), process(&out, &log), strings.Fields(quick+" --runs 2")); err != nil {
		t.Fatal(err, log.String())
	}
	for _, want := range []string{"3 connections, frames of 64 B, 1000 frames/s, tcp, engine poll",
		"Server and publisher", "CPU us/frame", "\n* ", "Recommended: ", "  sluice serve --shards "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
	if !strings.Contains(log.String(), "tune: 1/") ||
		!strings.Contains(log.String(), "left: sluice poll K=") {
		t.Errorf("no progress:\n%s", log.String())
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")[1:]
	_, first, _ := strings.Cut(lines[0], "left: ")
	_, second, _ := strings.Cut(lines[len(lines)/2], "left: ")
	if a, b := strings.Split(first, ",")[0], strings.Split(second, ",")[0]; len(lines) > 2 && a == b {
		t.Errorf("both rounds begin with %s:\n%s", a, log.String())
	}
}

func TestTopicsAreTuned(t *testing.T) {
	var out, log strings.Builder
	args := quick + " --runs 1 --topics 2 --subscribers 4 --rate 200"
	if err := Main(t.Context(), process(&out, &log), strings.Fields(args)); err != nil {
		t.Fatal(err, log.String())
	}
	for _, want := range []string{"2 topics, of which each client has 1", "8 connections", "Recommended: "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "No choice") {
		t.Errorf("topic frames are taken for the frames of a client:\n%s", out.String())
	}
}

// A line with five figures and their bounds fits a terminal of 100 columns.
func TestTableFitsATerminal(t *testing.T) {
	r := report{Load: load{Rate: 20000},
		Rows: []Row{planted(Choice{16, "front", "adaptive"}, 1.5e6, 32098, 34.2, .8)}}
	r.Rows[0].P50, r.Rows[0].P999 = []float64{3715e3}, []float64{62792e3}
	for _, r.Load.Rate = range []int{20000, 0} {
		var out strings.Builder
		r.table(&out)
		for line := range strings.SplitSeq(out.String(), "\n") {
			if len(strings.TrimRight(line, " ")) > 100 {
				t.Errorf("%d columns:\n%s", len(line), line)
			}
		}
	}
}

// If the CPUs are divided, server process and clients run on theirs, and after the run this process
// has its former CPUs.
func TestServerAndLoadRunOnSeparateCPUs(t *testing.T) {
	cpus := cpusOf(0)
	if len(cpus) < 2 {
		t.Skip("one CPU cannot be divided")
	}
	o := defaults()
	o.json, o.runs = true, 1
	spec, err := o.spec()
	if err != nil {
		t.Fatal(err)
	}
	spec.IO, spec.Connections, spec.Rate, spec.Run, spec.Warm = "poll", 2, 1000, 100*time.Millisecond, 0
	var out, log strings.Builder
	where := layout{Server: cpus[:1], Load: cpus[1:2]}
	if err := o.tune(t.Context(), process(&out, &log), spec, where); err != nil {
		t.Fatal(err, log.String())
	}
	var r report
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		t.Fatal(err, out.String())
	}
	if len(r.Rows) != 3 || r.Advice == nil || r.Flags != r.Advice.Flags()+" --io poll" ||
		!r.Complete || r.Engine != "poll" || len(r.Rows[0].P99) != 1 || r.Machine.Load[0] != cpus[1] {
		t.Errorf("%+v", r)
	}
	for _, c := range [][]int{cpusOf(0), cpusOf(os.Getpid())} {
		if cpuList(c) != cpuList(cpus) {
			t.Errorf("CPUs %v afterwards, %v before", c, cpus)
		}
	}
}

func TestConfineReachesEveryThread(t *testing.T) {
	cpus := cpusOf(0)
	undo, err := confine(cpus[:1])
	if err != nil {
		t.Fatal(err)
	}
	threads, _ := os.ReadDir("/proc/self/task")
	for _, thread := range threads {
		var id int
		fmt.Sscan(thread.Name(), &id)
		if got := cpusOf(id); len(got) > 1 {
			t.Errorf("thread %d has CPUs %v", id, got)
		}
	}
	if n := runtime.GOMAXPROCS(0); n != 1 {
		t.Errorf("GOMAXPROCS %d on one CPU", n)
	}
	if err := undo(); err != nil || cpuList(cpusOf(0)) != cpuList(cpus) {
		t.Errorf("%v: CPUs %v afterwards, %v before", err, cpusOf(0), cpus)
	}
}

func TestPinnedProgramCountsItsCPUs(t *testing.T) {
	cpus := cpusOf(0)
	last := cpuList(cpus[len(cpus)-1:])
	out, err := exec.Command(os.Args[0], PinArgument, last, os.Args[0], "cpus").CombinedOutput()
	if want := last + " 1\n"; err != nil || string(out) != want {
		t.Errorf("%q (%v), want %q", out, err, want)
	}
	out, err = exec.Command(os.Args[0], PinArgument, "x", os.Args[0]).CombinedOutput()
	if err == nil || !strings.Contains(string(out), `the list of CPUs is "x"`) {
		t.Errorf("%q (%v)", out, err)
	}
}

// stopper cancels the context after the first run.
type stopper struct {
	strings.Builder
	stop context.CancelFunc
}

func (s *stopper) Write(p []byte) (int, error) {
	if strings.HasPrefix(string(p), "tune: 1/") {
		s.stop()
	}
	return s.Builder.Write(p)
}

func TestStoppedRunReportsPartialResults(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out strings.Builder
	log := &stopper{stop: cancel}
	p := process(&out, nil)
	p.Stderr = log
	err := Main(ctx, p, strings.Fields(quick+" --runs 1000"))
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "stopped after 1 of ") {
		t.Error(err)
	}
	for _, want := range []string{"STOPPED EARLY", "Recommended: ", "Only "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
}

func TestTLSIsANetwork(t *testing.T) {
	var out, log strings.Builder
	if err := Main(t.Context(), process(&out, &log), strings.Fields(quick+" --tls")); err != nil {
		t.Fatal(err, log.String())
	}
	if want := "1000 frames/s, tls, engine poll"; !strings.Contains(out.String(), want) {
		t.Errorf("the report lacks %q:\n%s", want, out.String())
	}
}

func TestUsageErrors(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--connections 0", `--connections has "0"; use numbers from 1`},
		{"--connections 1,64", `--connections has "1,64"; use numbers from 1`},
		{"--frame 3", `--frame has "3"; use numbers from`},
		{"--rate fast", `--rate has "fast"; use numbers from 0`},
		{"--net tpc", `--net has "tpc"; did you mean tcp?`},
		{"--rate 0 --latency-target 1ms", "--latency-target 1ms with --rate 0"},
		{"--tls --net unix", "--tls with --net unix"},
		{"--runs 0", "--runs is \"0\""},
		{"--seconds 1h", "--seconds is \"1h\""},
		{"--latency 1ms", "unknown flag --latency"},
		{"now", `tune takes no arguments, but got "now"`},
	} {
		var out, log strings.Builder
		err := Main(t.Context(), process(&out, &log), strings.Fields(tt.args))
		var usage *config.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.args, err, tt.want)
		}
	}
	var help strings.Builder
	if err := Main(t.Context(), process(&help, nil), []string{"--help"}); err != nil ||
		!strings.Contains(help.String(), "--latency-target") {
		t.Errorf("%v: %s", err, help.String())
	}
}
