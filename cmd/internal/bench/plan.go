package bench

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/actors"
	"sluice/cmd/internal/config"
	"sluice/durability"
)

// Plan is a table of measurements: several runs of each combination of its axes.
type Plan struct {
	Connections, Rate, Frame, Shards, Stalled, Flush, Batch []string // numbers
	Burst, Repeat, Churn                                    []string // numbers
	Fan                                                     FanAxes
	Lag                                                     []string // times
	Placement, Idle, IO, Net, Peer, Policy, Pick            []string
	Congestion, Profile, Peers, Dir                         string
	Durable, Hiccups                                        bool
	Warm, Run                                               time.Duration
	Runs, Receivers, Window                                 int
}

// DefaultPlan returns a latency table that takes a minute.
func DefaultPlan() Plan {
	return Plan{
		Connections: []string{"64"}, Rate: []string{"20000"}, Frame: []string{"64"},
		Shards: []string{"2"}, Stalled: []string{"0"}, Flush: []string{"0"}, Batch: []string{"0"},
		Placement: []string{"auto"}, Idle: []string{"adaptive"}, IO: []string{"auto"},
		Net:   []string{"tcp"},
		Burst: []string{"0"}, Repeat: []string{"1"}, Churn: []string{"0"}, Lag: []string{"0s"},
		Policy: []string{"local"}, Pick: []string{"random"}, Dir: ".",
		Peer: []string{"sluice", "goroutines"}, Congestion: "cubic",
		Warm: time.Second, Run: 3 * time.Second, Runs: 5, Receivers: 2, Window: 1 << 18, Fan: defaultFan(),
	}
}

// Groups of the help text.
const (
	axesGroup = "Axes (every list is an axis; all combinations run)"
	runsGroup = "Measurement"
)

// settings returns the flags of the plan's fields.
func (p *Plan) settings() []config.Setting {
	return slices.Concat(p.serverSettings(), p.loadSettings(), p.topicSettings(), p.runSettings())
}

// serverSettings returns the axes of servers and clients.
func (p *Plan) serverSettings() []config.Setting {
	return []config.Setting{
		{Name: "peer", Group: axesGroup,
			Help: "compare these servers: sluice, goroutines (a goroutine, channel and " +
				"bufio.Writer per connection), single, netpoll, gnet, classic; bare and bare8 only send",
			Value: config.List(&p.Peer, "LIST")},
		{Name: "connections", Group: axesGroup,
			Help: "connect this number of clients", Value: config.List(&p.Connections, "LIST")},
		{Name: "rate", Group: axesGroup,
			Help: "send this number of frames per second, open loop; 0 is as fast as possible, " +
				"limited by ring and window",
			Value: config.List(&p.Rate, "LIST")},
		{Name: "frame", Group: axesGroup,
			Help: "send frames of this number of bytes", Value: config.List(&p.Frame, "LIST")},
		{Name: "stalled", Group: axesGroup,
			Help:  "let this percentage of the clients never read",
			Value: config.List(&p.Stalled, "LIST")},
		{Name: "net", Group: axesGroup,
			Help: "connect over tcp (loopback), unix sockets, or tls (TLS 1.3 over tcp; sluice, slots and " +
				"goroutines only)",
			Value: config.List(&p.Net, "LIST")},
		{Name: "io", Group: axesGroup,
			Help:  "run sluice with these engines: uring, poll, auto",
			Value: config.List(&p.IO, "LIST")},
		{Name: "shards", Group: axesGroup,
			Help: "run sluice with this number of shards", Value: config.List(&p.Shards, "LIST")},
		{Name: "placement", Group: axesGroup,
			Help:  "run sluice with these placements: auto, fused, front, spread",
			Value: config.List(&p.Placement, "LIST")},
		{Name: "idle", Group: axesGroup,
			Help:  "run sluice with these idle strategies: adaptive, spin",
			Value: config.List(&p.Idle, "LIST")},
		{Name: "flush", Group: axesGroup,
			Help: "let sluice queue the send of a connection at this number of bytes, before the " +
				"inbox is empty; 0 is its default",
			Value: config.List(&p.Flush, "LIST")},
		{Name: "batch", Group: axesGroup,
			Help:  "let gate and encoder of sluice take this number of slots per step; 0 is their default",
			Value: config.List(&p.Batch, "LIST")},
	}
}

// loadSettings returns the axes of durability and of the order of frames.
func (p *Plan) loadSettings() []config.Setting {
	return []config.Setting{
		{Name: "policy", Group: axesGroup,
			Help: "run sluice with these durability policies, such as local or hybrid; policies " +
				"that need replicas get two; other servers know local only",
			Value: config.List(&p.Policy, "LIST")},
		{Name: "lag", Group: axesGroup,
			Help: "make events durable after this time: the lag of the replicas' cursors, or for " +
				"local of the journal's; an earlier response is a fault",
			Value: config.List(&p.Lag, "LIST")},
		{Name: "churn", Group: axesGroup,
			Help: "connect this number of additional clients per second, which check four frames " +
				"and disconnect (sluice and goroutines only)",
			Value: config.List(&p.Churn, "LIST")},
		{Name: "pick", Group: axesGroup,
			Help:  "pick the next connection at random (random) or in turn (turn)",
			Value: config.List(&p.Pick, "LIST")},
		{Name: "burst", Group: axesGroup,
			Help:  "publish this number of frames together; 0 is one, or from 10000/s those due every 100 us",
			Value: config.List(&p.Burst, "LIST")},
		{Name: "repeat", Group: axesGroup,
			Help:  "publish this number of frames in a row for the same connection",
			Value: config.List(&p.Repeat, "LIST")},
		{Name: "durable", Group: axesGroup,
			Help: "measure round trips of one client to the whole server instead, and fdatasync " +
				"alone on the same file system",
			Value: config.Bool(&p.Durable)},
	}
}

// runSettings returns the flags that are not axes.
func (p *Plan) runSettings() []config.Setting {
	return []config.Setting{
		{Name: "dir", Group: runsGroup,
			Help:  "use this directory for --durable; its file system is what is measured",
			Value: config.Text(&p.Dir, "DIR")},
		{Name: "runs", Group: runsGroup,
			Help:  "run each combination N times; the table shows medians",
			Value: config.Count(&p.Runs, 1, 1000, false)},
		{Name: "seconds", Group: runsGroup,
			Help:  "measure for this time in each run",
			Value: config.Duration(&p.Run, 100*time.Millisecond, 10*time.Minute)},
		{Name: "warm", Group: runsGroup,
			Help:  "warm up for this time before each measurement",
			Value: config.Duration(&p.Warm, 0, time.Minute)},
		{Name: "receivers", Group: runsGroup,
			Help: "receive on N goroutines", Value: config.Count(&p.Receivers, 1, 64, false)},
		{Name: "window", Group: runsGroup,
			Help:  "allow N frames in flight at --rate 0",
			Value: config.Count(&p.Window, 2048, 1<<26, false)},
		{Name: "hiccups", Group: runsGroup,
			Help: "detect times in which the host does not run the processors of this machine, " +
				"and report results without them as well; needs root or CAP_SYS_NICE",
			Value: config.Bool(&p.Hiccups)},
		{Name: "peers", Group: runsGroup,
			Help: "start servers that are not part of sluice from this program (make peers); " +
				"empty for peers beside this program",
			Value: config.Text(&p.Peers, "FILE")},
		{Name: "cpuprofile", Group: runsGroup,
			Help:  "write a CPU profile of the last server process to this file",
			Value: config.Text(&p.Profile, "FILE")},
		{Name: "congestion", Group: runsGroup,
			Help: "set TCP_CONGESTION on both sides; empty for the default of the kernel, which " +
				"may pace sends and distort results",
			Value: config.Text(&p.Congestion, "NAME")},
	}
}

// axes are the parsed lists of a plan.
type axes struct {
	connections, rate, frame, stalled, flush, batch, shards, burst, repeat, churn []int
	lag                                                                           []time.Duration
}

// parse reads the lists.
func (p *Plan) parse() (a axes, err error) {
	for _, l := range []struct {
		flag  string
		texts []string
		least int
		most  int
		into  *[]int
	}{
		{"connections", p.Connections, 1, 1 << 17, &a.connections},
		{"rate", p.Rate, 0, 1e9, &a.rate}, {"frame", p.Frame, frameLeast, frameMost, &a.frame},
		{"stalled", p.Stalled, 0, 99, &a.stalled}, {"flush", p.Flush, 0, 1 << 20, &a.flush},
		{"batch", p.Batch, 0, 1 << 20, &a.batch},
		{"shards", p.Shards, 1, actors.MaxShards, &a.shards},
		{"burst", p.Burst, 0, 1 << 16, &a.burst}, {"repeat", p.Repeat, 1, 1 << 10, &a.repeat},
		{"churn", p.Churn, 0, 10000, &a.churn},
	} {
		if *l.into, err = numbers(l.flag, l.texts, l.least, l.most); err != nil {
			return a, err
		}
	}
	for _, l := range []struct {
		flag  string
		texts []string
		known []string
	}{
		{"placement", p.Placement, []string{"auto", "fused", "front", "spread"}},
		{"idle", p.Idle, []string{"adaptive", "spin"}},
		{"io", p.IO, []string{"auto", "uring", "poll"}}, {"net", p.Net, []string{"tcp", "unix", tlsNet}},
		{"peer", p.Peer, serverNames()},
		{"pick", p.Pick, []string{"random", "turn"}},
	} {
		if err := words(l.flag, l.texts, l.known...); err != nil {
			return a, err
		}
	}
	for _, text := range p.Policy {
		if _, err := durability.Parse(text, durability.DefaultNodes); err != nil {
			return a, config.Usagef("--policy: %v", err)
		}
	}
	a.lag, err = times("lag", p.Lag, lagMost)
	return a, err
}

// Specs returns all combinations without duplicates. Rows that are compared are adjacent.
func (p *Plan) Specs() ([]Spec, error) {
	a, err := p.parse()
	if err == nil {
		err = p.checkTLS()
	}
	if err != nil {
		return nil, err
	}
	specs := []Spec{{Congestion: p.Congestion, Warm: p.Warm, Run: p.Run, Window: p.Window,
		Profile: p.Profile, Dir: p.Dir, Hiccups: p.Hiccups}}
	if p.Durable {
		return durableSpecs(specs, p), nil
	}
	if specs, err = p.Fan.cross(specs); err != nil {
		return nil, err
	}
	specs = cross(specs, a.connections, func(s *Spec, v int) { s.Connections = v })
	specs = cross(specs, a.frame, func(s *Spec, v int) { s.Frame = v })
	specs = cross(specs, a.rate, func(s *Spec, v int) { s.Rate = v })
	specs = cross(specs, p.Pick, func(s *Spec, v string) { s.Pick = v })
	specs = cross(specs, a.burst, func(s *Spec, v int) { s.Burst = v })
	specs = cross(specs, a.repeat, func(s *Spec, v int) { s.Repeat = v })
	specs = cross(specs, a.lag, func(s *Spec, v time.Duration) { s.Lag = v })
	specs = cross(specs, p.Net, func(s *Spec, v string) { s.Net = v })
	specs = cross(specs, p.Peer, func(s *Spec, v string) { s.Server = v })
	specs = cross(specs, p.Policy, func(s *Spec, v string) { s.Policy = v })
	specs = cross(specs, p.IO, func(s *Spec, v string) { s.IO = v })
	specs = cross(specs, a.shards, func(s *Spec, v int) { s.Shards = v })
	specs = cross(specs, p.Placement, func(s *Spec, v string) { s.Placement = v })
	specs = cross(specs, p.Idle, func(s *Spec, v string) { s.Idle = v })
	specs = cross(specs, a.flush, func(s *Spec, v int) { s.Flush = v })
	specs = cross(specs, a.batch, func(s *Spec, v int) { s.Batch = v })
	specs = cross(specs, a.stalled, func(s *Spec, v int) { s.Stalled = v })
	specs = cross(specs, a.churn, func(s *Spec, v int) { s.Churn = v })
	var different []Spec
	for _, s := range specs {
		if err := s.settle(); err != nil {
			return nil, err
		}
		if !slices.Contains(different, s) {
			different = append(different, s)
		}
	}
	return different, nil
}

// settle clears settings that do not apply to the server, and rejects combinations that are not
// possible.
func (s *Spec) settle() error {
	if err := s.settleTopics(); err != nil {
		return err
	}
	if s.Server != "sluice" && s.Server != slotsServer {
		s.IO, s.Shards, s.Placement, s.Idle, s.Flush, s.Batch, s.Policy = "", 0, "", "", 0, 0, "local"
		if s.Churn > 0 && s.Server != "goroutines" {
			return config.Usagef("--churn %d with --peer %s: only sluice and goroutines accept "+
				"clients during a run", s.Churn, s.Server)
		}
	}
	if s.Burst > 0 && s.Rate == 0 {
		return config.Usagef("--burst %d with --rate 0: full speed has no bursts; name a rate", s.Burst)
	}
	if s.Stalled > 0 {
		if s.Rate == 0 {
			return config.Usagef("--stalled %d with --rate 0: at full speed the effect of "+
				"stalled clients cannot be measured; name a rate", s.Stalled)
		}
		s.Stalled = max(s.Connections*s.Stalled/100, 1)
		if s.Stalled >= s.Connections {
			return config.Usagef("--stalled with --connections %d leaves no client that reads",
				s.Connections)
		}
	}
	return nil
}

// cross returns one spec for each spec and value.
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
			return nil, config.Usagef("--%s has %q; use numbers from %d to %d, such as --%s %d",
				flag, t, least, most, flag, max(least, 1))
		}
		values = append(values, v)
	}
	if len(values) == 0 {
		return nil, config.Usagef("--%s is empty; name at least one value", flag)
	}
	return values, nil
}

func times(flag string, texts []string, most time.Duration) (values []time.Duration, err error) {
	for _, t := range texts {
		v, err := time.ParseDuration(t)
		if err != nil || v < 0 || v > most {
			return nil, config.Usagef("--%s has %q; use times from 0s to %v, such as --%s 1ms",
				flag, t, most, flag)
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
			return config.Usagef("--%s has %q; %suse %s", flag, w, config.DidYouMean(w, known),
				strings.Join(known, ", "))
		}
	}
	if len(given) == 0 {
		return config.Usagef("--%s is empty; name at least one of %v", flag, known)
	}
	return nil
}

// Name identifies the server and its variant in a table.
func (s *Spec) Name() string {
	switch s.Server {
	case "sluice", slotsServer:
	case ordersServer:
		return fmt.Sprintf("sluice %s, order to answer", s.IO)
	case syncServer:
		return "fdatasync alone"
	default:
		return s.Server
	}
	name := fmt.Sprintf("sluice %s K=%d", s.IO, s.Shards)
	if s.Server == slotsServer {
		name += ", a slot for each client"
	}
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
	if s.Policy != "local" {
		name += " " + s.Policy
	}
	return name
}
