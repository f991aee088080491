package actors

import (
	"fmt"
	"runtime"

	"sluice/actors/internal/run"
	"sluice/telemetry"
)

// role names an actor for placement.
type role int

const (
	roleControl role = iota
	roleGate
	roleEncode
	roleShard // the first shard; the others follow
)

// place makes the groups of a placement and the function that maps a role to its group.
func place(cfg *Config) (groups []*run.Group, of func(role) *run.Group) {
	placement, apart := cfg.Placement, cfg.Shards // number of goroutines for shards
	if placement == PlacementAuto {
		cores := runtime.GOMAXPROCS(0)
		// Goroutines beyond the number of cores only wake one another.
		placement, apart = PlacementFront, min(apart, cores)
		if cores >= cfg.Shards+4 {
			placement = PlacementSpread
		}
	}
	index := map[role]int{}
	add := func(name string, roles ...role) {
		for _, r := range roles {
			index[r] = len(groups)
		}
		groups = append(groups, run.NewGroup(name, cfg.newIdle()))
	}
	all := []role{roleControl, roleGate, roleEncode}
	front := true // the first shard runs on their goroutine
	switch placement {
	case PlacementFused:
		add("pipeline", all...)
		apart = 1
	case PlacementFront:
		add("front", all...)
	case PlacementSpread:
		front = false
		add("gate", roleControl, roleGate)
		add("encode", roleEncode)
	}
	for i := range cfg.Shards {
		switch own := roleShard + role(i); {
		case i >= apart:
			index[own] = index[roleShard+role(i%apart)]
		case i == 0 && front:
			index[own] = 0
		default:
			add(fmt.Sprintf("egress-%d", i), own)
		}
	}
	for i, g := range groups {
		g.Lock = cfg.Idle == IdleSpin
		if i < len(cfg.CPUs) {
			g.CPU = cfg.CPUs[i]
		}
	}
	return groups, func(r role) *run.Group { return groups[index[r]] }
}

// warnSpin logs that goroutines that never sleep share cores. The scheduler takes a core from each
// after 10 ms only, so responses, and everything else in the process, wait for that long and longer.
func (c *Config) warnSpin(groups int) {
	if cores := runtime.GOMAXPROCS(0); c.Idle == IdleSpin && groups >= cores {
		c.Log.Warn("idle strategy spin needs more cores than there are; responses will be late; "+
			"use adaptive, fewer shards, or more cores", "spinning_goroutines", groups, "cores", cores)
	}
}

func (c *Config) newIdle() run.Idle {
	if c.Idle == IdleSpin {
		return run.NewSpin()
	}
	return run.NewAdaptive()
}

// gauges registers what histograms cannot show: a gate that never opens ends no wait.
func (p *Pipeline[R, Q]) gauges() {
	add := func(id telemetry.GaugeID, shard int, read func() float64) {
		p.cfg.Collector.Gauge(id, shard, "", read)
	}
	no := telemetry.NoShard
	add(telemetry.GatePending, no, func() float64 { return float64(p.slots.Len()) })
	add(telemetry.GateOldestAge, no, func() float64 {
		if since := p.gate.oldest.Load(); since != 0 {
			return float64(p.Now()-since) / 1e9
		}
		return 0
	})
	add(telemetry.PolicyDegraded, no, func() float64 {
		if p.alarm.Degraded() {
			return 1
		}
		return 0
	})
	add(telemetry.PolicyDegradedSeconds, no, func() float64 { return p.alarm.Total(p.Now()).Seconds() })
	add(telemetry.PipelineHealthy, no, func() float64 {
		if p.phase.Over() {
			return 0
		}
		return 1
	})
	add(telemetry.ActiveConnections, no, func() float64 { return float64(p.permit.Load()) })
	for _, m := range []struct {
		name  string
		depth func() int
		room  int
	}{
		{"control", p.mail.inbox.Len, controlEvents},
		{"gate", p.gate.slots.Len, p.slots.Cap()},
		{"encode", p.encoder.slots.Len, p.slots.Cap()},
	} {
		p.cfg.Collector.Gauge(telemetry.MailboxDepth, no, m.name,
			func() float64 { return float64(m.depth()) })
		p.cfg.Collector.Gauge(telemetry.MailboxCapacity, no, m.name,
			func() float64 { return float64(m.room) })
	}
	for i, e := range p.shards {
		add(telemetry.EgressInbox, i, func() float64 { return float64(e.InboxLen()) })
		add(telemetry.EgressInboxCapacity, i, func() float64 { return float64(e.InboxCap()) })
		add(telemetry.EgressConnections, i, func() float64 { return float64(e.Gauges.Connections.Load()) })
		add(telemetry.EgressBlockedConnections, i,
			func() float64 { return float64(e.Gauges.Blocked.Load()) })
		add(telemetry.EgressBuffered, i, func() float64 { return float64(e.Gauges.Buffered.Load()) })
		add(telemetry.EgressHeld, i, func() float64 { return float64(e.Gauges.Held.Load()) })
		add(telemetry.KnownTopics, i, func() float64 { return float64(e.Gauges.Topics.Load()) })
		add(telemetry.TopicFeeds, i, func() float64 { return float64(e.Gauges.Feeds.Load()) })
		add(telemetry.TopicSubscribed, i, func() float64 { return float64(e.Gauges.Subscribed.Load()) })
		add(telemetry.TopicTapes, i, func() float64 { return float64(e.Gauges.Tapes.Load()) })
		p.cfg.Collector.Watch(telemetry.Loop{Name: "ring", Index: i, Rounds: e.Gauges.Refusals.Rounds})
	}
}
