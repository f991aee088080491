package bench

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const ms = int64(time.Millisecond)

func TestFramesAroundHiccupsAreLeftOut(t *testing.T) {
	const from, to = 1000 * ms, 2000 * ms
	for _, tt := range []struct {
		name    string
		hiccups []hiccup
		slow    int64   // scheduled time of the one slow frame
		share   float64 // share of the time
		counts  bool    // whether the slow frame counts
	}{
		{"no hiccup", nil, 1500 * ms, 1, true},
		{"5 ms before to ten lengths after", []hiccup{{1500 * ms, 1510 * ms}}, 1505 * ms, 1 - 0.115,
			false},
		{"frame in flight when the hiccup began", []hiccup{{1500 * ms, 1510 * ms}}, 1495 * ms,
			1 - 0.115, false},
		{"frame scheduled earlier", []hiccup{{1500 * ms, 1510 * ms}}, 1494 * ms, 1 - 0.115, true},
		{"frame during catching up", []hiccup{{1500 * ms, 1510 * ms}}, 1609 * ms, 1 - 0.115, false},
		{"frame after catching up", []hiccup{{1500 * ms, 1510 * ms}}, 1610 * ms, 1 - 0.115, true},
		{"two processors at the same time",
			[]hiccup{{1500 * ms, 1510 * ms}, {1502 * ms, 1510 * ms}}, 1610 * ms, 1 - 0.115, true},
		{"during the warm-up", []hiccup{{900 * ms, 950 * ms}}, 1449 * ms, 1 - 0.45, false},
		{"long before", []hiccup{{100 * ms, 110 * ms}}, 1000 * ms, 1, true},
		{"at the end", []hiccup{{1995 * ms, 2100 * ms}}, 1999 * ms, 1 - 0.01, false},
		{"after the end", []hiccup{{2005 * ms, 2100 * ms}}, 1999 * ms, 1, true},
		{"all the time", []hiccup{{0, 3000 * ms}}, 1500 * ms, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			samples := []timed{{tt.slow, 800 * ms}}
			for at := from; at < to; at += 10 * ms { // few enough for one slow frame to exceed p99.9
				samples = append(samples, timed{at, ms})
			}
			c := calm(samples, tt.hiccups, from, to)
			if math.Abs(c.Share-tt.share) > 1e-9 {
				t.Errorf("share of the time %v, want %v", c.Share, tt.share)
			}
			if counted := c.P999 > float64(ms)*1.01; counted != tt.counts {
				t.Errorf("p99.9 %v: the slow frame counts: %v, want %v", time.Duration(c.P999),
					counted, tt.counts)
			}
		})
	}
}

// A stopped process does not run, like one whose processor the host has taken.
func TestHiccupMeterDetectsAStop(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, ChildArgument)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}()
	l, answer := newLink(out, in), ready{}
	if err := errors.Join(l.give(&Spec{Server: hiccupMeter}), l.take(&answer)); err != nil {
		t.Fatal(err)
	}
	if answer.Error != "" {
		if !strings.Contains(answer.Error, "CAP_SYS_NICE") {
			t.Errorf("the meter reports %q, want the missing capability", answer.Error)
		}
		t.Skip("no real-time priority here: " + answer.Error)
	}
	c := newClock()
	if err := unix.Kill(cmd.Process.Pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	state := ""
	for state != "T" { // until it has stopped
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(text), ") ")
		state = after[:1]
	}
	stopped := c.now()
	c.sleepUntil(stopped + 50*ms)
	resumed := c.now()
	if err := unix.Kill(cmd.Process.Pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	var report hiccupReport
	if err := errors.Join(l.give(begin{}), l.take(&report)); err != nil {
		t.Fatal(err)
	}
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, h := range report.Hiccups {
		if h.From <= stopped+int64(hiccupPeriod)+ms && h.To >= resumed-ms {
			seen++
		}
	}
	if seen != all.Count() {
		t.Errorf("%d of %d threads saw the stop %d..%d: %v", seen, all.Count(), stopped, resumed,
			report.Hiccups)
	}
}

func TestRunMeasuresHiccups(t *testing.T) {
	spec := Spec{
		Server: "goroutines", Net: "tcp", Connections: 4, Rate: 2000, Frame: 64,
		Warm: 50 * time.Millisecond, Run: 300 * time.Millisecond,
		Window: 1 << 14, Hiccups: true,
	}
	res := measured(t, spec)
	switch {
	case res.Calm.Why != "":
		t.Skip("hiccups cannot be measured here: " + res.Calm.Why)
	case res.Calm.Share < 0 || res.Calm.Share > 1:
		t.Errorf("%v of the time was calm", res.Calm.Share)
	case res.Calm.Share > 0 &&
		(res.Calm.P50 <= 0 || res.Calm.P999 < res.Calm.P50 || res.Calm.P999 > res.Max*1.001):
		t.Errorf("%+v of a run with p50 %v and at most %v", res.Calm, res.P50, res.Max)
	}
}
