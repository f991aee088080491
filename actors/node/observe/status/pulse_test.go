package status

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/telemetry"
)

// An actor that runs and does not step is named at once and fails the page after five seconds. A
// parked actor, or one that steps late, does not.
func TestSilentActors(t *testing.T) {
	clock := telemetry.NewClock()
	c := telemetry.NewCollector(clock)
	parked, stuck := c.Register("gate", telemetry.NoShard), c.Register("egress", 1)
	parked.Park()
	var ahead time.Duration
	now := func() int64 { return clock.Now() + int64(ahead) }
	var p Pulse
	if s := p.Look(c, now); len(s) != 1 || s[0].Actor != "egress" || s[0].Shard != 1 ||
		s[0].Seconds > 1 {
		t.Fatalf("%+v", s)
	}
	stuck.Poll() // it steps
	if s := p.Look(c, now); len(s) != 0 {
		t.Fatalf("%+v after it stepped", s)
	}
	p.Look(c, now)
	parked.Unpark()
	ahead = 6 * time.Second
	silent := p.Look(c, now)
	found := false
	for _, s := range silent {
		found = found || s.Actor == "egress" && s.Seconds > maxSilence.Seconds()
	}
	if !found {
		t.Fatalf("%+v after six seconds", silent)
	}
}

// A loop is shown once it has been in one round for a second, and not while it waits or comes round.
// Some count as dead after that, each kind after a time of its own.
func TestLoopsThatDoNotComeRound(t *testing.T) {
	for _, v := range []struct {
		name        string
		shown, dead time.Duration
	}{
		{"sequencer", StalledFor, maxSilence}, {"ring", StalledFor, maxSilence},
		{"reader", StalledFor, maxWait}, {"journal", StalledFor, maxWait}, {"snapshot", snapshotFor, 0},
	} {
		c := telemetry.NewCollector(telemetry.NewClock())
		var beat telemetry.Beat
		c.Watch(telemetry.Loop{Name: v.name, Index: 3, Rounds: beat.Rounds})
		at := time.Duration(0)
		var p Pulse
		look := func(later time.Duration) []Silent {
			at += later
			return p.Look(c, func() int64 { return int64(at) })
		}
		if look(0); len(look(time.Hour)) != 0 {
			t.Errorf("%s: a loop that waits is silent", v.name)
		}
		for range 3 {
			beat.Begin()
			if s := look(time.Hour); len(s) != 0 {
				t.Errorf("%s: %v, but it comes round", v.name, s)
			}
		}
		if s := look(v.shown); len(s) != 1 || len(p.Stalled()) != 0 || !Alive(s) {
			t.Errorf("%s after %v: %v, shown %v", v.name, v.shown, s, p.Stalled())
		}
		if look(time.Millisecond); len(p.Stalled()) != 1 || p.Stalled()[0].Shard != 3 {
			t.Errorf("%s after more than %v: shown %v", v.name, v.shown, p.Stalled())
		}
		if v.dead == 0 {
			v.dead = 24 * time.Hour
		}
		if s := look(v.dead - at%time.Hour); !Alive(s) {
			t.Errorf("%s: dead after %v", v.name, s)
		}
		if s := look(time.Millisecond); Alive(s) && v.dead < time.Hour {
			t.Errorf("%s: alive after %v", v.name, s)
		}
		beat.End()
		if look(time.Hour); len(p.Stalled()) != 0 {
			t.Errorf("%s: %v after it went on", v.name, p.Stalled())
		}
	}
}

// The status names what is stalled and for how long.
func TestStatusNamesWhatIsStalled(t *testing.T) {
	s := Status{Stalled: []Silent{{"reader", 0, 7}, {"journal", telemetry.NoShard, 31}, {"ring", 2, 2}}}
	var line, ready strings.Builder
	if err := s.WriteLine(&line); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteReadiness(&ready); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"reader 0 has not come round for 7s", "journal has not come round for 31s",
		"ring 2 has not taken a request for 2s"} {
		if !strings.Contains(line.String(), want) || !slices.Contains(strings.Split(ready.String(), "\n"), want) {
			t.Errorf("%q is missing:\n%s%s", want, &line, &ready)
		}
	}
}

// Readiness names failing snapshots and does not fail because of them: clients are served.
func TestReadinessNamesFailingSnapshots(t *testing.T) {
	for failing, want := range map[uint64]bool{0: false, 3: true} {
		s := Status{State: StateReady, Ready: true, Snapshots: Snapshots{Failing: failing, Age: 120}}
		var text strings.Builder
		if err := s.WriteReadiness(&text); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(text.String(), "\n")
		const line = "snapshots FAIL: 3 since the last one succeeded or the start, 2m ago; the journal grows"
		if got := slices.Contains(lines, line); got != want || lines[0] != "ready" {
			t.Errorf("%d failures: %q", failing, lines)
		}
	}
}
