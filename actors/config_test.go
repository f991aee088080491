package actors

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"sluice/durability"
	"sluice/transport"
)

func TestConfigErrorsNameTheValue(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(c *Config)
		want string // "" if accepted
	}{
		{"the zero value with a policy", func(c *Config) {}, ""},
		{"no policy", func(c *Config) { c.Policy = durability.Policy{} }, "no durability policy"},
		{"slots not a power of two", func(c *Config) { c.Slots = 1000 }, "1000 slots"},
		{"one slot", func(c *Config) { c.Slots = 1 }, "1 slots"},
		{"a negative batch", func(c *Config) { c.Batch = -1 }, "batch of -1"},
		{"a frame below its header", func(c *Config) { c.MaxFrame = 4 }, "4 B"},
		{"a frame above the limit", func(c *Config) { c.MaxFrame = 2 << 20 }, "2097152 B"},
		{"the largest frame with a limit that holds it", func(c *Config) {
			c.MaxFrame = 1 << 20
			c.Limits = []transport.Limits{{HardBytes: 4 << 20, SoftBytes: 1 << 20,
				SoftFor: time.Second, NoProgress: time.Second}}
		}, ""},
		{"a frame above the hard limit", func(c *Config) { c.MaxFrame = 1 << 20 }, "class 0"},
		{"too many shards", func(c *Config) { c.Shards = 65 }, "65 shards"},
		{"a negative number of shards", func(c *Config) { c.Shards = -1 }, "-1 shards"},
		{"a frame ring that is no power of two", func(c *Config) { c.FrameRing = 100000 },
			"100000 B"},
		{"a frame ring of a few frames", func(c *Config) { c.FrameRing = 4096 }, "4096 B"},
		{"a negative connection limit", func(c *Config) { c.MaxConnections = -5 }, "-5"},
		{"a heartbeat shorter than a tick", func(c *Config) { c.Heartbeat = time.Millisecond },
			"1ms"},
		{"a negative cadence", func(c *Config) { c.Egress.FlushSlots = -1 }, "cadence"},
		{"an empty list of limits", func(c *Config) { c.Limits = []transport.Limits{} },
			"0 classes"},
		{"bad limits", func(c *Config) {
			c.Limits = []transport.Limits{transport.DefaultLimits(),
				{HardBytes: 1}}
		}, "class 1"},
		{"a placement that does not exist", func(c *Config) { c.Placement = 9 }, "placement(9)"},
		{"an idle strategy that does not exist", func(c *Config) { c.Idle = 9 }, "idle(9)"},
		{"an engine that does not exist", func(c *Config) { c.IO = 9 }, "engine Mode(9)"},
		{"CPUs for goroutines that sleep", func(c *Config) { c.CPUs = []int{0} }, "not spin"},
		{"a CPU that this process may not use", func(c *Config) {
			c.Idle, c.CPUs = IdleSpin, []int{1000}
		}, "may not use CPU 1000; the CPUs that it may use are "},
		{"a CPU that is left to the scheduler", func(c *Config) {
			c.Idle, c.CPUs = IdleSpin, []int{-1}
		}, ""},
		{"too few ring entries", func(c *Config) { c.RingEntries = 1 }, "ring entries 1"},
		{"a budget below one block", func(c *Config) { c.ShardBudget = 1000 }, "1000 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Config{Policy: durability.Local(), Shards: 1, IO: transport.ModePoll}
			c.edit(&cfg)
			p, err := newPipeline(cfg, askEncoder{}, durability.NewCursors(0))
			if checked := cfg.Check(); checked != nil && checked.Error() != err.Error() {
				t.Errorf("Check returns %v", checked)
			}
			if err == nil {
				for _, e := range p.shards {
					if err := e.CloseRing(); err != nil {
						t.Error(err)
					}
				}
			}
			switch {
			case c.want == "" && err != nil:
				t.Errorf("rejected: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestFailedRingNamesItsShardAndClosesTheOthers(t *testing.T) {
	before := openFDs(t)
	_, err := newPipeline(Config{
		Policy: durability.Local(), Shards: 3,
		OpenRing: func(shard int, rc transport.RingConfig) (transport.Ring, error) {
			if shard == 2 {
				return nil, fmt.Errorf("planted")
			}
			ring, _, err := transport.Open(transport.ModePoll, rc)
			return ring, err
		},
	}, askEncoder{}, durability.NewCursors(0))
	if err == nil || !strings.Contains(err.Error(), "shard 2") {
		t.Errorf("error %v, want one that names shard 2", err)
	}
	eventually(t, "the rings that were open are closed",
		func() bool { return openFDs(t) == before })
}

func TestPlacementPutsEachActorInOneGroup(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	for _, c := range []struct {
		placement Placement
		shards    int
		want      []string
	}{
		{PlacementAuto, 1, []string{"control gate encode egress-0"}},
		{PlacementAuto, 2, []string{"control gate encode egress-0", "egress-1"}},
		{PlacementAuto, 5, []string{"control gate encode egress-0 egress-2 egress-4",
			"egress-1 egress-3"}},
		{PlacementFused, 3, []string{"control gate encode egress-0 egress-1 egress-2"}},
		{PlacementFront, 1, []string{"control gate encode egress-0"}},
		{PlacementFront, 3, []string{"control gate encode egress-0", "egress-1", "egress-2"}},
		{PlacementSpread, 2, []string{"control gate", "encode", "egress-0", "egress-1"}},
	} {
		p, err := newPipeline(Config{
			Policy: durability.Local(), Shards: c.shards, Placement: c.placement,
			OpenRing: func(int, transport.RingConfig) (transport.Ring, error) {
				return &nullRing{entries: 2}, nil
			},
		}, askEncoder{}, durability.NewCursors(0))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range p.runner.Groups() {
			var names []string
			for _, a := range g.Actors {
				names = append(names, a.Name())
			}
			got = append(got, strings.Join(names, " "))
		}
		if strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("%v with %d shards: %q, want %q", c.placement, c.shards, got, c.want)
		}
	}
}

// Goroutines that never sleep need a core each, and one must be left for the others.
func TestSpinWithoutCoresIsLogged(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	for _, c := range []struct {
		idle      IdleMode
		placement Placement
		warned    bool
	}{
		{IdleSpin, PlacementSpread, true}, {IdleSpin, PlacementFront, false},
		{IdleAdaptive, PlacementSpread, false},
	} {
		var log bytes.Buffer
		p, err := newPipeline(Config{Policy: durability.Local(), Shards: 2, IO: transport.ModePoll,
			Placement: c.placement, Idle: c.idle, Log: slog.New(slog.NewTextHandler(&log, nil))},
			askEncoder{}, durability.NewCursors(0))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range p.shards {
			if err := e.CloseRing(); err != nil {
				t.Error(err)
			}
		}
		if got := strings.Contains(log.String(), "spinning_goroutines=4 cores=3"); got != c.warned {
			t.Errorf("%v, %v: %s", c.idle, c.placement, &log)
		}
	}
}

func TestPlacementAndIdleParseTheirStrings(t *testing.T) {
	for p := PlacementAuto; p <= PlacementSpread; p++ {
		if got, err := ParsePlacement(p.String()); err != nil || got != p {
			t.Errorf("%v is read back as %v, %v", p, got, err)
		}
	}
	for _, m := range []IdleMode{IdleAdaptive, IdleSpin} {
		if got, err := ParseIdle(m.String()); err != nil || got != m {
			t.Errorf("%v is read back as %v, %v", m, got, err)
		}
	}
	if _, err := ParsePlacement("both"); err == nil || !strings.Contains(err.Error(), `"both"`) {
		t.Errorf("placement both: %v", err)
	}
	if _, err := ParseIdle("sleep"); err == nil || !strings.Contains(err.Error(), `"sleep"`) {
		t.Errorf("idle strategy sleep: %v", err)
	}
}
