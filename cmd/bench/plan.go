package bench

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"sluice/cmd/config"
)

// Plan is a table of measurements: all combinations of its axes, several runs of each.
type Plan struct {
	Connections, Rate, Frame, Shards, Stalled, Flush, Batch []string // numbers
	Placement, Idle, IO, Net, Peer                          []string
	Congestion, Profile, Peers                              string
	Warm, Run                                               time.Duration
	Runs, Receivers, Window                                 int
}

// DefaultPlan is a latency table of a minute.
func DefaultPlan() Plan {
	return Plan{
		Connections: []string{"64"}, Rate: []string{"20000"}, Frame: []string{"64"}, Shards: []string{"2"}, Stalled: []string{"0"}, Flush: []string{"0"}, Batch: []string{"0"},
		Placement: []string{"auto"}, Idle: []string{"adaptive"}, IO: []string{"auto"}, Net: []string{"tcp"},
		Peer: []string{"sluice", "goroutines"}, Congestion: "cubic",
		Warm: time.Second, Run: 3 * time.Second, Runs: 5, Receivers: 2, Window: 1 << 18,
	}
}

// settings are the flags of the plan's fields.
func (p *Plan) settings() []config.Setting {
	const axes, runs = "What is compared (every list is an axis, all combinations run)", "How"
	return []config.Setting{
		{Name: "peer", Group: axes, Help: "Servers: sluice, goroutines (one with channel and bufio per connection), single, netpoll, gnet, classic; bare and bare8 only send.", Value: config.List(&p.Peer, "LIST")},
		{Name: "connections", Group: axes, Help: "Connections.", Value: config.List(&p.Connections, "LIST")},
		{Name: "rate", Group: axes, Help: "Frames per second, open loop; 0 is as fast as possible, held back by the ring and the window.", Value: config.List(&p.Rate, "LIST")},
		{Name: "frame", Group: axes, Help: "Bytes of a frame.", Value: config.List(&p.Frame, "LIST")},
		{Name: "stalled", Group: axes, Help: "Clients that never read, in percent.", Value: config.List(&p.Stalled, "LIST")},
		{Name: "net", Group: axes, Help: "Sockets: tcp (loopback), unix.", Value: config.List(&p.Net, "LIST")},
		{Name: "io", Group: axes, Help: "Engines of sluice: uring, poll, auto.", Value: config.List(&p.IO, "LIST")},
		{Name: "shards", Group: axes, Help: "Shards of sluice.", Value: config.List(&p.Shards, "LIST")},
		{Name: "placement", Group: axes, Help: "Placements of sluice: auto, fused, front, spread.", Value: config.List(&p.Placement, "LIST")},
		{Name: "idle", Group: axes, Help: "Idle strategies of sluice: adaptive, spin.", Value: config.List(&p.Idle, "LIST")},
		{Name: "flush", Group: axes, Help: "Bytes of one connection that make sluice queue its send before the inbox is empty; 0 is the default.", Value: config.List(&p.Flush, "LIST")},
		{Name: "batch", Group: axes, Help: "Slots that gate and encoder of sluice take in a step; 0 is the default.", Value: config.List(&p.Batch, "LIST")},
		{Name: "runs", Group: runs, Help: "Runs of each combination; the table shows medians.", Value: config.Count(&p.Runs, 1, 1000, false)},
		{Name: "seconds", Group: runs, Help: "Measured time of a run.", Value: config.Duration(&p.Run, 100*time.Millisecond, 10*time.Minute)},
		{Name: "warm", Group: runs, Help: "Time before it.", Value: config.Duration(&p.Warm, 0, time.Minute)},
		{Name: "receivers", Group: runs, Help: "Goroutines that receive.", Value: config.Count(&p.Receivers, 1, 64, false)},
		{Name: "window", Group: runs, Help: "Frames that may be on their way at --rate 0.", Value: config.Count(&p.Window, 2048, 1<<26, false)},
		{Name: "peers", Group: runs, Help: "Program with the servers that are not part of sluice (make peers); empty is peers beside this program.", Value: config.Text(&p.Peers, "FILE")},
		{Name: "cpuprofile", Group: runs, Help: "File for a CPU profile of the last server process.", Value: config.Text(&p.Profile, "FILE")},
		{Name: "congestion", Group: runs, Help: "TCP_CONGESTION of both sides; empty leaves the kernel's default, which can pace sends and blur every number.", Value: config.Text(&p.Congestion, "NAME")},
	}
}

// Specs are all combinations, without those that would measure the same twice. Rows that are compared are neighbours.
func (p *Plan) Specs() ([]Spec, error) {
	connections, e1 := numbers("connections", p.Connections, 1, 1<<17)
	rate, e2 := numbers("rate", p.Rate, 0, 1e9)
	frame, e3 := numbers("frame", p.Frame, frameLeast, frameMost)
	stalled, e4 := numbers("stalled", p.Stalled, 0, 99)
	flush, e6 := numbers("flush", p.Flush, 0, 1<<20)
	batch, e7 := numbers("batch", p.Batch, 0, 1<<20)
	shards, e5 := numbers("shards", p.Shards, 1, 64)
	for _, err := range []error{
		e1, e2, e3, e4, e5, e6, e7, words("placement", p.Placement, "auto", "fused", "front", "spread"), words("idle", p.Idle, "adaptive", "spin"),
		words("io", p.IO, "auto", "uring", "poll"), words("net", p.Net, "tcp", "unix"), words("peer", p.Peer, serverNames()...),
	} {
		if err != nil {
			return nil, err
		}
	}
	specs := []Spec{{Congestion: p.Congestion, Warm: p.Warm, Run: p.Run, Window: p.Window, Profile: p.Profile}}
	specs = cross(specs, p.Net, func(s *Spec, v string) { s.Net = v })
	specs = cross(specs, connections, func(s *Spec, v int) { s.Connections = v })
	specs = cross(specs, frame, func(s *Spec, v int) { s.Frame = v })
	specs = cross(specs, rate, func(s *Spec, v int) { s.Rate = v })
	specs = cross(specs, p.Peer, func(s *Spec, v string) { s.Server = v })
	specs = cross(specs, p.IO, func(s *Spec, v string) { s.IO = v })
	specs = cross(specs, shards, func(s *Spec, v int) { s.Shards = v })
	specs = cross(specs, p.Placement, func(s *Spec, v string) { s.Placement = v })
	specs = cross(specs, p.Idle, func(s *Spec, v string) { s.Idle = v })
	specs = cross(specs, flush, func(s *Spec, v int) { s.Flush = v })
	specs = cross(specs, batch, func(s *Spec, v int) { s.Batch = v })
	specs = cross(specs, stalled, func(s *Spec, v int) { s.Stalled = v })
	var different []Spec
	for _, s := range specs {
		if s.Server != "sluice" {
			s.IO, s.Shards, s.Placement, s.Idle, s.Flush, s.Batch = "", 0, "", "", 0, 0
		}
		if s.Stalled > 0 {
			if s.Rate == 0 {
				return nil, config.Usagef("--stalled %d with --rate 0: as fast as possible cannot be told from stalled; name a rate", s.Stalled)
			}
			s.Stalled = max(s.Connections*s.Stalled/100, 1)
			if s.Stalled >= s.Connections {
				return nil, config.Usagef("--stalled with --connections %d leaves no client that reads", s.Connections)
			}
		}
		if !slices.Contains(different, s) {
			different = append(different, s)
		}
	}
	return different, nil
}

// cross makes one spec for each spec and value.
func cross[T any](specs []Spec, values []T, set func(*Spec, T)) (all []Spec) {
	for _, s := range specs {
		for _, v := range values {
			set(&s, v)
			all = append(all, s)
		}
	}
	return all
}

func numbers(flag string, texts []string, least, most int) (values []int, err error) {
	for _, t := range texts {
		v, err := strconv.Atoi(t)
		if err != nil || v < least || v > most {
			return nil, config.Usagef("--%s has %q; use numbers from %d to %d, such as --%s %d", flag, t, least, most, flag, max(least, 1))
		}
		values = append(values, v)
	}
	if len(values) == 0 {
		return nil, config.Usagef("--%s is empty; name at least one value", flag)
	}
	return values, nil
}

func words(flag string, given []string, known ...string) error {
	for _, w := range given {
		if !slices.Contains(known, w) {
			best, _ := config.Nearest(w, known)
			return config.Usagef("--%s has %q; did you mean %s? There are %v", flag, w, best, known)
		}
	}
	if len(given) == 0 {
		return config.Usagef("--%s is empty; name at least one of %v", flag, known)
	}
	return nil
}

// Name is what tells a spec from others in a table.
func (s *Spec) Name() string {
	if s.Server != "sluice" {
		return s.Server
	}
	name := fmt.Sprintf("sluice %s K=%d", s.IO, s.Shards)
	if s.Placement != "auto" {
		name += " " + s.Placement
	}
	if s.Idle == "spin" {
		name += " spin"
	}
	if s.Flush != 0 {
		name += fmt.Sprintf(" flush=%d", s.Flush)
	}
	if s.Batch != 0 {
		name += fmt.Sprintf(" batch=%d", s.Batch)
	}
	return name
}
