package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is the result of one run.
type Result struct {
	Spec     Spec
	Engine   string
	Frames   float64 // received per second, within the measured time
	P50      float64 // latency from the scheduled time, ns; so are the others
	P99      float64
	P999     float64
	Max      float64
	Curve    []Percentile // the whole distribution
	Server   Usage        // usage of the server process, within the measured time
	Clients  Usage        // usage of this process, within the measured time
	Counts   Counts
	Late     [3]int64   // p50, p99 and maximum of the producer's lateness, ns
	WaitRing int64      // time that the producer waited for the server, ns
	WaitPeer int64      // time that it waited for the receivers, ns
	InTime   uint64     // frames published within the measured time
	Sent     uint64     // frames published in all, for clients that read
	Skipped  uint64     // topic frames among them that were lost as the mode allows
	Last     [2]float64 // p50 and p99 over the topic frames of the latency of the last client, ns
	Idle     int64      // resident memory of the server process before the first client, bytes
	Guests   Guests     // with churn
	FullRead float64    // share of reads that filled the buffer
	Others   float64    // cores that other processes used
	Stolen   float64    // cores that the hypervisor withheld
	Calm     Calm       // latencies while the host ran all processors, with Spec.Hiccups
	Faults   Faults
	First    string                  // description of the first violation
	hist     *hdrhistogram.Histogram // all latencies, ns
}

// Runner runs specs one after the other.
type Runner struct {
	Command   []string  // program and arguments that call Child with Servers
	Peers     string    // program that calls Child with the other servers; "" for "peers" beside the first
	Receivers int       // goroutines that receive
	Stderr    io.Writer // standard error of child processes
}

// startDelay is the time from "begin" to the first slot, in which both sides become ready.
const startDelay = 50 * time.Millisecond

// measure runs one spec. A broken promise of the server is in Result.Faults; an error means that
// there is no result.
func (r *Runner) measure(ctx context.Context, spec Spec) (res *Result, err error) {
	switch spec.Server {
	case ordersServer:
		return r.measureOrders(ctx, spec)
	case syncServer:
		return r.measureSync(ctx, spec)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*(spec.Warm+spec.Run)+30*time.Second+spec.handshakes())
	defer cancel()
	l, shared, end, err := r.launch(ctx, &spec)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end(err != nil)) }()

	f := &fleet{}
	res = &Result{Spec: spec}
	address := listening{}
	answer := ready{}
	if err := errors.Join(l.give(&spec), l.take(&address)); err != nil {
		return nil, err
	}
	if address.Address != "" {
		if err := f.connect(&spec, address.Address); err != nil {
			return nil, errors.Join(err, f.stop())
		}
	}
	if err := l.take(&answer); err != nil || answer.Error != "" {
		return nil, errors.Join(err, fmt.Errorf("bench: server: %s", answer.Error), f.stop())
	}
	res.Engine = answer.Engine
	runtime.GC() // collects the garbage of connecting
	if err := r.watched(ctx, l, f, shared, res); err != nil {
		return nil, err
	}
	return res, nil
}

// load runs from begin to the last frame, and stops the fleet. The measured time starts at from.
func (r *Runner) load(l *link, f *fleet, shared *progress, res *Result) (from int64, err error) {
	c, spec := newClock(), &res.Spec
	stopped := false
	defer func() {
		if !stopped {
			err = errors.Join(err, f.stop())
		}
	}()
	at := c.now() + int64(startDelay)
	from, to := spec.span(at)
	if err := errors.Join(f.start(r.Receivers, c, spec, shared, from, to),
		l.give(begin{at})); err != nil {
		return from, err
	}
	visits := startVisits(spec, f.address, c, from, to)
	defer visits.stop()
	c.sleepUntil(from)
	before, err := c.usage()
	busy, stolen := machineTime()
	if err != nil {
		return from, err
	}
	c.sleepUntil(to)
	after, err := c.usage()
	busyAfter, stolenAfter := machineTime()
	if err != nil {
		return from, err
	}
	res.Clients = after.minus(before)
	child := ChildReport{}
	if err := l.take(&child); err != nil {
		return from, err
	}
	if child.Error != "" {
		return from, fmt.Errorf("bench: server: %s", child.Error)
	}
	res.Guests = visits.end()
	f.complete(c, child.Published, child.Topics, c.now()+int64(finishTime))
	stopped = true
	if err := errors.Join(f.stop(), l.give(begin{})); err != nil {
		return from, err
	}
	res.take(&child, f)
	span := float64(res.Clients.At)
	res.Others = max(float64(busyAfter-busy-res.Clients.cpu()-res.Server.cpu())/span, 0)
	res.Stolen = float64(stolenAfter-stolen) / span
	return from, nil
}

// record sets the latencies from a histogram and keeps it.
func (res *Result) record(hist *hdrhistogram.Histogram) {
	res.hist = hist
	res.P50, res.P99 = float64(hist.ValueAtQuantile(50)), float64(hist.ValueAtQuantile(99))
	res.P999, res.Max, res.Curve = float64(hist.ValueAtQuantile(99.9)), float64(hist.Max()), curve(hist)
}

// take adds the measurements of child and receivers.
func (res *Result) take(child *ChildReport, f *fleet) {
	hist := hdrhistogram.New(1, latencyMost, 3)
	inRun, reads, full := uint64(0), uint64(0), uint64(0)
	for _, r := range f.receivers {
		hist.Merge(r.hist)
		inRun, reads, full = inRun+r.inRun, reads+r.reads, full+r.full
	}
	res.Frames = float64(inRun) / res.Spec.Run.Seconds()
	res.FullRead = float64(full) / float64(max(reads, 1))
	res.record(hist)
	last := lastReached(f.receivers)
	res.Last = [2]float64{float64(last.ValueAtQuantile(50)), float64(last.ValueAtQuantile(99))}
	res.Idle = child.Idle
	res.Server, res.Counts, res.InTime = child.Usage, child.Counts, child.InTime
	res.Late = [3]int64{child.LateP50, child.LateP99, child.LateMax}
	res.WaitRing, res.WaitPeer = child.WaitRing, child.WaitPeer
	res.Faults.add(res.Guests.Faults)
	res.First = res.Guests.First
	for _, c := range f.healthy {
		res.Sent += child.Published[c.check.conn-1]
		c.check.end(child.Published[c.check.conn-1])
		if c.topics != nil {
			res.Sent += c.topics.sum
			res.Skipped += c.topics.skipped
			c.topics.end(&c.check, child.Topics)
		}
		res.Faults.add(c.check.faults)
		if res.First == "" {
			res.First = c.check.first
		}
	}
}

// launch starts the server process of a run, with a directory for its socket and memory for its
// progress. end waits for the process, which it kills first if the run failed, and then frees both.
func (r *Runner) launch(ctx context.Context, spec *Spec) (l *link, shared *progress,
	end func(failed bool) error, err error) {
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return nil, nil, nil, fmt.Errorf("bench: directory for the run: %w", err)
	}
	spec.Socket = filepath.Join(dir, "s")
	shared, file, err := newProgress()
	if err != nil {
		os.RemoveAll(dir)
		return nil, nil, nil, err
	}
	l, wait, err := r.spawn(ctx, spec, file)
	if err != nil {
		shared.close()
		os.RemoveAll(dir)
		return nil, nil, nil, err
	}
	return l, shared, func(failed bool) error {
		defer os.RemoveAll(dir)
		defer shared.close()
		return wait(failed)
	}, nil
}

// spawn starts the child, with shared as its progressFD unless it is nil. end waits for the child,
// and kills it first if kill is set.
func (r *Runner) spawn(ctx context.Context, spec *Spec, shared *os.File) (l *link,
	end func(kill bool) error, err error) {
	if shared != nil {
		defer shared.Close()
	}
	command, err := r.serverCommand(spec)
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stderr = r.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // no server survives a benchmark that is killed
	if shared != nil {
		cmd.ExtraFiles = []*os.File{shared} // becomes progressFD
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, fmt.Errorf("bench: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, fmt.Errorf("bench: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("bench: starting the server process: %w", err)
	}
	return newLink(out, in), func(kill bool) error {
		in.Close() // ends the child
		if kill {
			_ = cmd.Process.Kill() // an error means that it has ended
		}
		if err := cmd.Wait(); err != nil && !kill {
			return fmt.Errorf("bench: server process: %w", err)
		}
		return nil
	}, nil
}
