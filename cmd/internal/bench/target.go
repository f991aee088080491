package bench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"sluice/actors"
	"sluice/durability"
	"sluice/mailbox"
	"sluice/telemetry"
	"sluice/transport"
)

// Target is a server under test. One goroutine calls Connect for every client, then one publishes slots; Counts may be
// called from any goroutine meanwhile.
type Target interface {
	// Slots is the producer's end of the slot ring.
	Slots() *mailbox.Writer[Slot]
	// Now is the clock of Slot.Received, ns.
	Now() int64
	// Connect hands a connected, non-blocking socket over, set up for the run (TCP_NODELAY, congestion control). Slots for
	// it carry the id, from 1 to Spec.Connections. The descriptor belongs to the target from here on; an error ends the run.
	Connect(id uint64, fd int) error
	// Counts are those since the start.
	Counts() Counts
	// Engine names what sends.
	Engine() string
	// Finish delivers what was published, as far as clients read, and closes everything; the slots are closed before.
	Finish(ctx context.Context) error
}

// NewTarget makes and starts the server of the spec. A slot may be answered once the policy local holds for its Seq.
type NewTarget func(spec *Spec, cursors *durability.Cursors) (Target, error)

// Servers are those of this package, for Child.
func Servers() map[string]NewTarget {
	return map[string]NewTarget{"sluice": newPipeline, "goroutines": newGoroutines, "raw": newRaw}
}

// serverNames are the words of --peer; those that are not in Servers are served by the program of --peers.
func serverNames() []string {
	return []string{"sluice", "goroutines", "single", "netpoll", "gnet", "classic", "bare", "bare8", "raw"}
}

// serverCommand is the program, with arguments, that serves the spec: this one, or the one with the peers.
func (r *Runner) serverCommand(spec *Spec) ([]string, error) {
	if Servers()[spec.Server] != nil || spec.Server == ordersServer || spec.Server == syncServer || spec.Server == hiccupMeter {
		return r.Command, nil
	}
	program := r.Peers
	if program == "" {
		program = filepath.Join(filepath.Dir(r.Command[0]), "peers")
	}
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("bench: server %s is in a program of its own, which is not there (%w): build it with `make peers`, or name it with --peers", spec.Server, err)
	}
	return []string{program, ChildArgument}, nil
}

// pipeline is the response stage as it ships.
type pipeline struct {
	*actors.Pipeline[Report, struct{}]
}

func newPipeline(spec *Spec, cursors *durability.Cursors) (Target, error) {
	io, err := transport.ParseMode(spec.IO)
	if err != nil {
		return nil, err
	}
	placement, err := actors.ParsePlacement(spec.Placement)
	if err != nil {
		return nil, err
	}
	idle, err := actors.ParseIdle(spec.Idle)
	if err != nil {
		return nil, err
	}
	policy, err := spec.policy()
	if err != nil {
		return nil, err
	}
	p, err := actors.Open(actors.Config{
		Policy: policy, IO: io, Placement: placement, Idle: idle, Shards: spec.Shards, Batch: spec.Batch,
		MaxFrame: max(spec.Frame, 512), MaxConnections: spec.places(), Heartbeat: time.Hour,
		// Limits are not what is measured: a stalled client stays for the whole run.
		Limits:      []transport.Limits{{HardBytes: 32 << 20, SoftBytes: 32 << 20, SoftFor: time.Hour, NoProgress: time.Hour}},
		ShardBudget: 1 << 30,
		Egress:      actors.EgressConfig{FlushBytes: spec.Flush},
		Log:         slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}, frames{}, cursors)
	if err != nil {
		return nil, err
	}
	return &pipeline{p}, nil
}

// Engine implements Target.
func (p *pipeline) Engine() string { return p.Rings()[0].Engine }

// Connect implements Target. It hides the pipeline's own, which takes more.
func (p *pipeline) Connect(id uint64, fd int) error {
	return p.own(actors.Conn{ID: id, FD: fd, Alone: true})
}

// own connects a socket that belongs to this target already; a pipeline that refuses it leaves it with us.
func (p *pipeline) own(c actors.Conn) error {
	err := p.Pipeline.Connect(c)
	if err != nil {
		unix.Close(c.FD)
	}
	return err
}

// Counts implements Target.
func (p *pipeline) Counts() Counts {
	for range collections {
		if p.Collector().Collect(0) == 0 {
			break // every actor answered
		}
	}
	c := &p.Collector().Sum().C
	n := Counts{
		Frames: c[telemetry.EgressFramesSent], Bytes: c[telemetry.EgressBytesSent],
		Sends:   c[telemetry.EgressSendOK] + c[telemetry.EgressSendShort],
		Refused: c[telemetry.EgressSendAgain], Submits: c[telemetry.EgressSubmits], Parks: c[telemetry.RunnerParks],
		Polls: c[telemetry.EgressPolls],
	}
	for r := range telemetry.CloseReason(telemetry.NumCloseReasons) {
		n.Closed += c[r.Counter()]
	}
	return n
}

// collections are the tries to get all actors' counters, 2 ms each; on a busy machine some do not get to answer in one.
const collections = 50

// Finish implements Target.
func (p *pipeline) Finish(ctx context.Context) error { return p.Drain(ctx) }
