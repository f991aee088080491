package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"sluice/actors/node/observe"
	"sluice/actors/node/observe/status"
)

// wedge is a server with a closed gate, and the places that must show it.
type wedge struct {
	t       *testing.T
	p       *process
	watcher *prometheus
	since   time.Time // time of sending of the waiting order
	seen    map[string]time.Duration
}

// A gate that cannot open, because the policy requires a replica that does not exist, is visible
// everywhere. One waiting order is followed through gauge, log, readiness, feed of the live page
// and alert, and back.
func TestWedgedGateIsVisibleEverywhere(t *testing.T) {
	t.Parallel() // Prometheus scrapes its target only after 5 s
	socket := filepath.Join(t.TempDir(), "admin")
	p, address := serving(t, t.TempDir(), "--admin-socket", socket)
	w := &wedge{t: t, p: p, watcher: watching(t, p.page(), 500*time.Millisecond)}
	r := trading(t, address, 0)
	r.rests(1)
	r.settle()
	w.watcher.becomes("sluice_gate_oldest_age_seconds", 0)

	operate(t, socket, "--force", "policy", "hybrid")
	late := lateness(t)
	w.since, w.seen = time.Now(), map[string]time.Duration{}
	r.rests(1) // event 4, after the version of the rules, the connection and the first order
	w.sees(map[string]func() error{
		"the gauge above the alert's bound": w.gauge(func(age float64) bool { return age > status.WedgedFor.Seconds() }),
		"one answer pending":                p.metric("sluice_gate_pending", "1"),
		"the log":                           w.wrote("gate wedged; responses wait for durability"),
		"/readyz": w.ready(func(g status.Gate) bool {
			return g.Wedged && g.Event == 4 &&
				strings.Contains(g.Why, "in view")
		}),
		"the feed of the live page": w.feed(func(g status.Gate) bool {
			return g.Wedged && g.Event == 4 &&
				strings.Contains(g.Why, "in view")
		}),
		"the alert": w.alert(1),
	})
	line := regexp.MustCompile(`gate wedged.* waiting=(\S+) event=4 why="?[^"]*in view`).FindStringSubmatch(p.err.String())
	if line == nil {
		t.Fatalf("the log does not name what the gate waits for:\n%s", p.err)
	}
	stall := late()
	waited, err := time.ParseDuration(line[1])
	if err != nil || waited <= status.WedgedFor || waited > status.WedgedFor+time.Second+stall {
		t.Errorf("logged after %s (%v), want within a second of %v; this machine stalled for %v",
			line[1], err, status.WedgedFor, stall)
	}
	t.Logf("figure in the log: %v; this machine was late by %v at most", waited, stall)

	operate(t, socket, "policy", "local")
	w.since, w.seen = time.Now(), map[string]time.Duration{}
	r.settle()
	w.sees(map[string]func() error{
		"the gauge back at 0": w.gauge(func(age float64) bool { return age == 0 }),
		"nothing pending":     p.metric("sluice_gate_pending", "0"),
		"the log, open":       w.wrote("gate reopened"),
		"/readyz, open":       w.ready(func(g status.Gate) bool { return !g.Waiting && !g.Wedged }),
		"the feed, open":      w.feed(func(g status.Gate) bool { return !g.Waiting && !g.Wedged }),
		"no alert":            w.alert(0),
	})
	p.signal(syscall.SIGTERM)
	p.ends(0, "drained in")
}

// The shipped configuration of Prometheus adds no more than a second to the gauge: one scrape and
// one evaluation.
func TestShippedAlertOfAWedgedGateIsInTime(t *testing.T) {
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
			if late <= 0 || late > time.Second ||
				!strings.HasSuffix(r.Expr, fmt.Sprintf("> %v", status.WedgedFor.Seconds())) {
				t.Errorf("%s, %v late", r.Expr, late)
			}
			return
		}
	}
	t.Error("no alert of a wedged gate")
}

// sees waits until all places show the state, and logs when each did.
func (w *wedge) sees(places map[string]func() error) {
	w.t.Helper()
	until(w.t, "all places to show the gate", func() (all error) {
		for name, look := range places {
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
			return fmt.Errorf("got %q", text)
		}
		return nil
	}
}

func (w *wedge) wrote(words string) func() error {
	return func() error {
		if !strings.Contains(w.p.err.String(), words) {
			return fmt.Errorf("%q is not in the log", words)
		}
		return nil
	}
}

func (w *wedge) ready(good func(status.Gate) bool) func() error {
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

// lookEvery is the interval at which the server checks its gate.
const lookEvery = 250 * time.Millisecond

// lateness measures by how much this machine delays a timer that fires four times per second. The
// result ends the measurement.
func lateness(t *testing.T) func() time.Duration {
	t.Helper()
	quit, worst := make(chan struct{}), make(chan time.Duration)
	go func() {
		timer := time.NewTimer(lookEvery)
		defer timer.Stop()
		most, set := time.Duration(0), time.Now()
		for {
			select {
			case <-timer.C:
				most = max(most, time.Since(set)-lookEvery)
				set = time.Now()
				timer.Reset(lookEvery)
			case <-quit:
				worst <- max(most, time.Since(set)-lookEvery)
				return
			}
		}
	}()
	return func() time.Duration { close(quit); return <-worst }
}
