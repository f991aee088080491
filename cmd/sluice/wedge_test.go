package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"sluice/actors"
	"sluice/actors/node/observe"
	"sluice/actors/node/observe/status"
	"sluice/durability"
)

func TestTheLogTellsOfAWedgedGate(t *testing.T) {
	var out bytes.Buffer
	var now actors.Wait
	w := &gateWatch{
		log: slog.New(slog.NewTextHandler(&out, nil)), wait: func() (actors.Wait, bool) { return now, now.Seq != 0 },
		why: func(event durability.Seq) string { return fmt.Sprintf("waits for %d", event) },
	}
	began := time.Now()
	for _, step := range []struct {
		at, waiting time.Duration
		event       durability.Seq
		want        string // nothing but this is written
	}{
		{at: 0},
		{at: 1 * time.Second, waiting: 900 * time.Millisecond, event: 7},
		{at: 2 * time.Second, waiting: time.Second, event: 8},
		{at: 2250 * time.Millisecond, waiting: 1250 * time.Millisecond, event: 8, want: `level=WARN msg="the gate is wedged: answers wait for durability" waiting=1.25s event=8 why="waits for 8"`},
		{at: 11 * time.Second, waiting: 10 * time.Second, event: 8},
		{at: 12250 * time.Millisecond, waiting: 11250 * time.Millisecond, event: 8, want: "waiting=11.25s event=8"},
		{at: 13 * time.Second, waiting: 900 * time.Millisecond, event: 9, want: `level=INFO msg="the gate opens again" longest=11.25s`},
		{at: 14 * time.Second},
		{at: 15 * time.Second, waiting: 2 * time.Second, event: 12, want: "waiting=2s event=12"},
		{at: 16 * time.Second, want: "longest=2s"},
	} {
		now = actors.Wait{Seq: step.event, For: step.waiting}
		out.Reset()
		w.look(began.Add(step.at))
		if got := out.String(); !strings.Contains(got, step.want) || step.want == "" && got != "" || strings.Count(got, "\n") > 1 {
			t.Errorf("at %v, waiting for %v: %q, want %q", step.at, step.waiting, got, step.want)
		}
	}
}

// wedge is a server whose gate is shut, and everything that is to show it.
type wedge struct {
	t       *testing.T
	p       *process
	watcher *prometheus
	since   time.Time // the order that waits was sent
	seen    map[string]time.Duration
}

// A gate that cannot open, because the policy asks for a replica that is not there, is seen by everybody who may look: one
// order that waits is followed through gauge, log, readiness, feed of the live page and alert, and back.
func TestEverybodySeesAWedgedGate(t *testing.T) {
	t.Parallel() // Prometheus takes up its target after 5 s
	door := filepath.Join(t.TempDir(), "admin")
	p, address := serving(t, t.TempDir(), "--admin-socket", door)
	w := &wedge{t: t, p: p, watcher: watching(t, p.page(), 500*time.Millisecond)}
	r := trading(t, address, 0)
	r.rests(1)
	r.settle()
	w.watcher.becomes("sluice_gate_oldest_age_seconds", 0)

	operate(t, door, "--force", "policy", "hybrid")
	late := lateness(t)
	w.since, w.seen = time.Now(), map[string]time.Duration{}
	r.rests(1)
	w.sees(map[string]func() error{
		"the gauge above the alert's bound": w.gauge(func(age float64) bool { return age > wedgedFor.Seconds() }),
		"one answer pending":                p.metric("sluice_gate_pending", "1"),
		"the log":                           w.wrote("the gate is wedged: answers wait for durability"),
		"/readyz":                           w.ready(func(g observe.Gate) bool { return g.Wedged && g.Event == 2 && strings.Contains(g.Why, "in view") }),
		"the feed of the live page":         w.feed(func(g status.Gate) bool { return g.Wedged && g.Event == 2 && strings.Contains(g.Why, "in view") }),
		"the alert":                         w.alert(1),
	})
	line := regexp.MustCompile(`the gate is wedged.* waiting=(\S+) event=2 why="?[^"]*in view`).FindStringSubmatch(p.err.String())
	if line == nil {
		t.Fatalf("the log does not say what the gate waits for:\n%s", p.err)
	}
	stall := late()
	waited, err := time.ParseDuration(line[1])
	if err != nil || waited <= wedgedFor || waited > wedgedFor+time.Second+stall {
		t.Errorf("the log told of it after %s (%v), want within a second of %v; this machine stood still for %v", line[1], err, wedgedFor, stall)
	}
	t.Logf("the log's own figure: %v; this machine was late by %v at most", waited, stall)

	operate(t, door, "policy", "local")
	w.since, w.seen = time.Now(), map[string]time.Duration{}
	r.settle()
	w.sees(map[string]func() error{
		"the gauge back at 0": w.gauge(func(age float64) bool { return age == 0 }),
		"nothing pending":     p.metric("sluice_gate_pending", "0"),
		"the log, open":       w.wrote("the gate opens again"),
		"/readyz, open":       w.ready(func(g observe.Gate) bool { return !g.Waiting && !g.Wedged }),
		"the feed, open":      w.feed(func(g status.Gate) bool { return !g.Waiting && !g.Wedged }),
		"no alert":            w.alert(0),
	})
	p.signal(syscall.SIGTERM)
	p.ends(0, "drained in")
}

// The shipped configuration of Prometheus adds no more than a second to the gauge: one scrape and one evaluation.
func TestTheShippedAlertOfAWedgedGateIsInTime(t *testing.T) {
	var config struct {
		Global map[string]time.Duration
	}
	var rules struct {
		Groups []struct {
			Interval time.Duration
			Rules    []struct {
				Alert, Expr string
				For         time.Duration
			}
		}
	}
	for name, into := range map[string]any{"prometheus.yml": &config, "rules.yml": &rules} {
		text, err := os.ReadFile("../../deploy/prometheus/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Alert != "SluiceGateWedged" {
				continue
			}
			late := config.Global["scrape_interval"] + config.Global["evaluation_interval"] + g.Interval + r.For
			if late <= 0 || late > time.Second || !strings.HasSuffix(r.Expr, fmt.Sprintf("> %v", wedgedFor.Seconds())) {
				t.Errorf("%s, %v late", r.Expr, late)
			}
			return
		}
	}
	t.Error("there is no alert of a wedged gate")
}

// sees looks until all have seen what they are to see, and tells when each did.
func (w *wedge) sees(lookers map[string]func() error) {
	w.t.Helper()
	until(w.t, "everybody to see the gate", func() (all error) {
		for name, look := range lookers {
			if w.seen[name] != 0 {
				continue
			}
			if err := look(); err != nil {
				all = errors.Join(all, fmt.Errorf("%s: %w", name, err))
				continue
			}
			w.seen[name] = time.Since(w.since)
			w.t.Logf("%-34s after %v", name, w.seen[name].Round(time.Millisecond))
		}
		return all
	})
}

func (w *wedge) gauge(good func(age float64) bool) func() error {
	return func() error {
		text := w.p.scraped("sluice_gate_oldest_age_seconds")
		if age, err := strconv.ParseFloat(text, 64); err != nil || !good(age) {
			return fmt.Errorf("it is %q", text)
		}
		return nil
	}
}

func (w *wedge) wrote(words string) func() error {
	return func() error {
		if !strings.Contains(w.p.err.String(), words) {
			return fmt.Errorf("%q is not written", words)
		}
		return nil
	}
}

func (w *wedge) ready(good func(observe.Gate) bool) func() error {
	return func() error {
		var page observe.Readiness
		status, text := get(w.t, "http://"+w.p.page()+"/readyz", "application/json")
		if err := json.Unmarshal([]byte(text), &page); err != nil || status != 200 || !good(page.Gate) {
			return fmt.Errorf("%d %s %v", status, text, err)
		}
		return nil
	}
}

func (w *wedge) feed(good func(status.Gate) bool) func() error {
	return func() error {
		var s status.Snapshot
		_, text := get(w.t, "http://"+w.p.page()+"/live.json", "*/*")
		if err := json.Unmarshal([]byte(text), &s); err != nil || !good(s.Gate) {
			return fmt.Errorf("%+v %v", s.Gate, err)
		}
		return nil
	}
}

func (w *wedge) alert(firing float64) func() error {
	return func() error {
		got, err := w.watcher.value(`count(ALERTS{alertname="SluiceGateWedged",alertstate="firing",severity="page"}) or vector(0)`)
		if err == nil && got != firing {
			err = fmt.Errorf("%v alerts fire", got)
		}
		return err
	}
}

// lateness measures by how much this machine delays what is due four times a second; the result ends the measurement.
func lateness(t *testing.T) func() time.Duration {
	t.Helper()
	quit, worst := make(chan struct{}), make(chan time.Duration)
	go func() {
		timer := time.NewTimer(wedgeLook)
		defer timer.Stop()
		most, set := time.Duration(0), time.Now()
		for {
			select {
			case <-timer.C:
				most = max(most, time.Since(set)-wedgeLook)
				set = time.Now()
				timer.Reset(wedgeLook)
			case <-quit:
				worst <- max(most, time.Since(set)-wedgeLook)
				return
			}
		}
	}()
	return func() time.Duration { close(quit); return <-worst }
}
