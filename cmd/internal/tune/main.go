package tune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"sluice/cmd/internal/bench"
	"sluice/cmd/internal/config"
)

// Process has the parts of the process that Main uses.
type Process struct {
	Environ        []string
	Stdout, Stderr io.Writer
	Command        []string // program and arguments that call bench.Child
	Pin            []string // program and arguments that call Pin with the rest
}

// options are the flags. The first two lines are the load as text, as package bench takes it; the others say
// how it is measured.
type options struct {
	connections, frame, rate, net, io string
	topics, subscribers, each         string
	run, warm, target                 time.Duration
	runs                              int
	json, tls                         bool
}

// defaults are those of a table of package bench, except that a run is shorter.
func defaults() options {
	p := bench.DefaultPlan()
	return options{
		connections: p.Connections[0], frame: p.Frame[0], rate: p.Rate[0], net: p.Net[0], io: p.IO[0],
		topics: p.Fan.Topics[0], subscribers: p.Fan.Subscribers[0], each: p.Fan.Each[0],
		run: 2 * time.Second, warm: 500 * time.Millisecond, runs: p.Runs,
	}
}

func (o *options) set() *config.Set {
	const load, how = "Load", "Measurement"
	return config.NewSet("",
		config.Setting{Name: "connections", Group: load,
			Help: "connect N clients", Value: config.Text(&o.connections, "N")},
		config.Setting{Name: "frame", Group: load,
			Help: "send frames of N bytes", Value: config.Text(&o.frame, "N")},
		config.Setting{Name: "rate", Group: load,
			Help:  "send N frames per second to all clients together, open loop; 0 is as fast as possible",
			Value: config.Text(&o.rate, "N")},
		config.Setting{Name: "topics", Group: load,
			Help: "publish frames of N topics to subscribers instead; --rate is topic frames per " +
				"second then, and the subscribers are the clients",
			Value: config.Text(&o.topics, "N")},
		config.Setting{Name: "subscribers", Group: load,
			Help: "subscribe N clients to each topic", Value: config.Text(&o.subscribers, "N")},
		config.Setting{Name: "each", Group: load,
			Help:  "let each client subscribe to N topics; 0 is all",
			Value: config.Text(&o.each, "N")},
		config.Setting{Name: "latency-target", Group: load,
			Help:  "accept this p99: among the choices that meet it, CPU decides; 0s is as low as possible",
			Value: config.Duration(&o.target, 0, time.Minute)},
		config.Setting{Name: "net", Group: load,
			Help:  "connect over TCP on loopback (tcp), unix-domain sockets (unix), or TLS over TCP (tls)",
			Value: config.Text(&o.net, "tcp|unix|tls")},
		config.Setting{Name: "tls", Group: load, Help: "the same as --net tls", Value: config.Bool(&o.tls)},
		config.Setting{Name: "io", Group: load,
			Help: "send with io_uring (uring), with send and epoll (poll), " +
				"or with the first of the two that works here (auto)",
			Value: config.Text(&o.io, "auto|uring|poll")},
		config.Setting{Name: "runs", Group: how,
			Help:  "measure each choice N times; more runs separate smaller differences from noise",
			Value: config.Count(&o.runs, 1, 1000, false)},
		config.Setting{Name: "seconds", Group: how,
			Help:  "measure for this time in each run",
			Value: config.Duration(&o.run, 100*time.Millisecond, 10*time.Minute)},
		config.Setting{Name: "warm", Group: how,
			Help:  "warm up for this time before each measurement",
			Value: config.Duration(&o.warm, 0, time.Minute)},
		config.Setting{Name: "json", Group: how,
			Help: "print every run and the advice as JSON", Value: config.Bool(&o.json)},
	)
}

// usage is the head of the help text.
const usage = `usage: sluice tune [flags]

Measures shard counts, placements and idle strategies under your load on this machine, and prints
the best flags for sluice serve.

Exit codes: 0 done, 1 failed or stopped early, 64 usage error.
`

// spec returns the load as a spec of package bench, which also checks it.
func (o *options) spec() (bench.Spec, error) {
	if o.tls && o.net == "unix" {
		return bench.Spec{}, config.Usagef("--tls with --net unix: TLS is measured over TCP; leave out --net")
	}
	if o.tls {
		o.net = "tls"
	}
	p := bench.DefaultPlan()
	p.Peer, p.Shards = []string{"sluice"}, []string{"1"}
	p.Connections, p.Frame, p.Rate = []string{o.connections}, []string{o.frame}, []string{o.rate}
	p.Fan.Topics, p.Fan.Subscribers, p.Fan.Each = []string{o.topics}, []string{o.subscribers}, []string{o.each}
	p.Net, p.IO, p.Run, p.Warm = []string{o.net}, []string{o.io}, o.run, o.warm
	specs, err := p.Specs()
	if err != nil {
		return bench.Spec{}, err
	}
	if s := &specs[0]; o.target > 0 && s.Rate == 0 {
		return bench.Spec{}, config.Usagef("--latency-target %v with --rate 0: at full speed all "+
			"queues are full, so latency has no meaning; name a rate, such as --rate 20000", o.target)
	}
	return specs[0], nil
}

// Main runs the command: it measures all choices that fit this machine under the user's load, and
// recommends one. If ctx ends early, Main reports the runs completed until then and returns an
// error.
func Main(ctx context.Context, p Process, args []string) error {
	o := defaults()
	set := o.set()
	rest, err := set.Load(args, p.Environ)
	if errors.Is(err, config.ErrHelp) {
		fmt.Fprint(p.Stdout, usage)
		return set.Usage(p.Stdout)
	}
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return config.Usagef("tune takes no arguments, but got %q; flags begin with --", rest[0])
	}
	spec, err := o.spec()
	if err != nil {
		return err
	}
	where, err := thisMachine()
	if err != nil {
		return err
	}
	return o.tune(ctx, p, spec, where)
}

// tune measures with the CPUs divided as in where, and reports.
func (o *options) tune(ctx context.Context, p Process, spec bench.Spec, where layout) (err error) {
	runner := &bench.Runner{Command: p.Command, Receivers: 2, Stderr: p.Stderr}
	if len(where.Load) > 0 {
		undo, err := confine(where.Load)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, undo()) }()
		runner.Command = append(append(p.Pin[:len(p.Pin):len(p.Pin)], cpuList(where.Server)),
			p.Command...)
		runner.Receivers = len(where.Load)
	}
	s := &sweep{runner: runner, base: spec, choices: choices(len(where.Server), spec.Connections),
		runs: o.runs, log: p.Stderr}
	ended := s.measure(ctx)
	rows := s.rows()
	if len(rows) == 0 {
		return ended
	}
	r := report{Load: loadOf(&spec, o.target), Engine: s.engine(), Machine: where, Rows: rows,
		Doubts: s.doubts(), Complete: ended == nil}
	r.Advice = Advise(rows, Goal{Rate: int(spec.Wanted()), P99: o.target})
	if r.Advice != nil {
		r.Flags = r.Advice.Flags()
		if spec.IO != "auto" {
			r.Flags += " --io " + spec.IO
		}
	}
	failed := errors.Join(ended, verdict(rows))
	if o.json {
		e := json.NewEncoder(p.Stdout)
		e.SetIndent("", " ")
		if err := e.Encode(&r); err != nil {
			return fmt.Errorf("tune: %w", err)
		}
		return failed
	}
	r.write(p.Stdout)
	return failed
}
