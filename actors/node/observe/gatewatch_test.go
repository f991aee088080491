package observe

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"sluice/actors/node/observe/status"
)

func TestWedgedGateIsLogged(t *testing.T) {
	var out bytes.Buffer
	var now status.Gate
	w := &gateWatch{log: slog.New(slog.NewTextHandler(&out, nil)),
		read: func() status.Gate { return now }}
	began := time.Now()
	for _, step := range []struct {
		at, waiting time.Duration
		event       uint64
		want        string // in the only line; empty for no line
	}{
		{at: 0},
		{at: 1 * time.Second, waiting: 900 * time.Millisecond, event: 7},
		{at: 2 * time.Second, waiting: time.Second, event: 8},
		{at: 2250 * time.Millisecond, waiting: 1250 * time.Millisecond, event: 8,
			want: `level=WARN msg="gate wedged; responses wait for durability" waiting=1.25s event=8 why="waits for 8"`},
		{at: 11 * time.Second, waiting: 10 * time.Second, event: 8},
		{at: 12250 * time.Millisecond, waiting: 11250 * time.Millisecond, event: 8,
			want: "waiting=11.25s event=8"},
		{at: 13 * time.Second, waiting: 900 * time.Millisecond, event: 9,
			want: `level=INFO msg="gate reopened" longest=11.25s`},
		{at: 14 * time.Second},
		{at: 15 * time.Second, waiting: 2 * time.Second, event: 12, want: "waiting=2s event=12"},
		{at: 16 * time.Second, want: "longest=2s"},
	} {
		now = status.Gate{
			Waiting: step.event != 0, Wedged: step.waiting > status.WedgedFor, Event: step.event,
			Seconds: step.waiting.Seconds(), Why: fmt.Sprintf("waits for %d", step.event),
		}
		out.Reset()
		w.look(began.Add(step.at))
		if got := out.String(); !strings.Contains(got, step.want) || step.want == "" && got != "" ||
			strings.Count(got, "\n") > 1 {
			t.Errorf("at %v, waiting for %v: %q, want %q", step.at, step.waiting, got, step.want)
		}
	}
}
