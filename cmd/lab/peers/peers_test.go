package main

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/cmd/internal/bench"
)

// TestMain lets the test binary be the server process.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{bench.ChildArgument, bench.EtcdArgument, etcdMember}, os.Args[1]) {
		main()
		return
	}
	os.Exit(m.Run())
}

// measured runs one changed plan.
func measured(t *testing.T, peer string, change func(*bench.Plan)) (*bench.Result, error) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	plan := bench.DefaultPlan()
	plan.Peer, plan.Connections, plan.Rate = []string{peer}, []string{"16"}, []string{"5000"}
	plan.Warm, plan.Run = 50*time.Millisecond, 300*time.Millisecond
	if peer == "tape" { // 16 clients of a topic
		plan.Fan.Topics, plan.Fan.Subscribers, plan.Rate = []string{"1"}, []string{"16"}, []string{"300"}
	}
	change(&plan)
	specs, err := plan.Specs()
	if err != nil {
		return nil, err
	}
	r := &bench.Runner{Command: []string{program, bench.ChildArgument}, Peers: program, Receivers: 2, Stderr: os.Stderr}
	rows, err := r.Rounds(t.Context(), specs, 1, io.Discard)
	if err != nil && strings.Contains(err.Error(), "io_uring_setup") {
		t.Skip("io_uring is not to be had here: ", err)
	}
	if err != nil {
		return nil, err
	}
	return rows[0].Results[0], nil
}

func TestEveryPeerDeliversEverything(t *testing.T) {
	loads := []struct {
		name   string
		change func(*bench.Plan)
	}{
		{"at a rate", func(*bench.Plan) {}},
		{"at full speed", func(p *bench.Plan) { p.Rate = []string{"0"} }},
		{"to one connection at full speed", func(p *bench.Plan) { p.Rate, p.Connections = []string{"0"}, []string{"1"} }},
		// More data is in flight than sockets hold, so sends are short and sockets are full all the
		// time.
		{"large frames to unix sockets at full speed", func(p *bench.Plan) {
			p.Rate, p.Frame, p.Net, p.Window = []string{"0"}, []string{"5000"}, []string{"unix"}, 1<<11
		}},
	}
	for peer := range servers() {
		for _, load := range loads {
			t.Run(peer+" "+load.name, func(t *testing.T) {
				res, err := measured(t, peer, load.change)
				if err != nil {
					t.Fatal(err)
				}
				if res.Faults != (bench.Faults{}) || res.Sent == 0 {
					t.Errorf("faults %v in %d frames; %s", res.Faults, res.Sent, res.First)
				}
				if res.Counts.Closed > 0 || res.Counts.Frames > res.Sent {
					t.Errorf("counts %+v for %d frames that were published", res.Counts, res.Sent)
				}
			})
		}
	}
}

// TestBareSendsFramesAsStated checks the frames per send for which the goals are stated.
func TestBareSendsFramesAsStated(t *testing.T) {
	for peer, want := range map[string]float64{"bare": 1, "bare8": 8} {
		t.Run(peer, func(t *testing.T) {
			res, err := measured(t, peer, func(p *bench.Plan) { p.Rate, p.Run = []string{"0"}, time.Second })
			if err != nil {
				t.Fatal(err)
			}
			got := float64(res.Counts.Frames) / float64(max(res.Counts.Sends, 1))
			// Samples in the middle of a batch and short sends cause a small error.
			if math.Abs(got-want) > 0.02*want {
				t.Errorf("%.3f frames a send in %+v, want %.0f", got, res.Counts, want)
			}
		})
	}
}

// TestNothingLeavesBeforeItIsDurable lets the checker of package bench compare the time of arrival
// with the lag of the journal.
func TestNothingLeavesBeforeItIsDurable(t *testing.T) {
	for peer := range servers() {
		t.Run(peer, func(t *testing.T) {
			res, err := measured(t, peer, func(p *bench.Plan) { p.Lag = []string{"3ms"} })
			if strings.HasPrefix(peer, "bare") || peer == "tape" {
				if err == nil || !strings.Contains(err.Error(), "leave --lag out") {
					t.Errorf("error %v, want one that says that the limit has no gate", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if res.Faults != (bench.Faults{}) || res.Sent == 0 {
				t.Errorf("faults %v in %d frames; %s", res.Faults, res.Sent, res.First)
			}
		})
	}
}

func TestStalledClientsDoNotAffectOthers(t *testing.T) {
	for peer := range servers() {
		t.Run(peer, func(t *testing.T) {
			res, err := measured(t, peer, func(p *bench.Plan) { p.Stalled, p.Run = []string{"25"}, time.Second })
			if strings.HasPrefix(peer, "bare") || peer == "tape" {
				if err == nil || !strings.Contains(err.Error(), "--stalled out") &&
					!strings.Contains(err.Error(), "leave both out") {
					t.Errorf("error %v, want one that says that the limit has no stalled clients", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if res.Faults != (bench.Faults{}) || res.Sent == 0 {
				t.Errorf("faults %v in %d frames for clients that read; %s", res.Faults, res.Sent, res.First)
			}
			if want := map[bool]uint64{false: 4}[peer == "gnet"]; res.Counts.Closed != want {
				t.Errorf("%d connections closed, want %d", res.Counts.Closed, want)
			}
		})
	}
}

// TestNoAllocationForAFrame counts heap objects of the server process, whose producer and sampler
// allocate a few as well.
func TestNoAllocationForAFrame(t *testing.T) {
	for peer := range servers() {
		t.Run(peer, func(t *testing.T) {
			res, err := measured(t, peer, func(p *bench.Plan) { p.Rate, p.Run = []string{"0"}, time.Second })
			if err != nil {
				t.Fatal(err)
			}
			const others = 5000 // objects that do not depend on the frames
			if n := res.Server.Mallocs; n > others+res.InTime/20 {
				t.Errorf("%d objects for %d frames; want at most %d and one for 20 frames", n, res.InTime, others)
			}
		})
	}
}

func TestAMissingProgramIsNamed(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := &bench.Runner{Command: []string{program, bench.ChildArgument}, Peers: "/nowhere/peers", Receivers: 1, Stderr: io.Discard}
	plan := bench.DefaultPlan()
	plan.Peer = []string{"gnet"}
	specs, err := plan.Specs()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Rounds(t.Context(), specs, 1, io.Discard); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "make peers") {
		t.Errorf("error %v, want one that says how the program is made", err)
	}
}

func TestEtcdIsMeasured(t *testing.T) {
	args, err := json.Marshal(bench.EtcdArguments{Dir: t.TempDir(), Run: 50 * time.Millisecond, Record: 128, Batch: 256})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], bench.EtcdArgument, string(args))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var r bench.EtcdResult
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, got := range []bench.EtcdTimes{r.One, r.Batch} {
		if got.P50 <= 0 || got.P99 < got.P50 {
			t.Errorf("%+v", r)
		}
	}
}
