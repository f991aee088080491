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

// Target is a server under test. One goroutine calls Connect for every client, then one publishes
// slots. Counts is safe from any goroutine.
type Target interface {
	// Slots returns the producer's end of the slot ring.
	Slots() *mailbox.Writer[Slot]
	// Now returns the time on the clock of Slot.Received, ns.
	Now() int64
	// Connect passes a connected, non-blocking socket that is configured for the run (TCP_NODELAY,
	// congestion control). Its slots carry the id, from 1 to Spec.Connections. The descriptor
	// belongs to the target after that. An error ends the run.
	Connect(id uint64, fd int) error
	// Counts returns the counters since the start.
	Counts() Counts
	// Engine names the sending engine.
	Engine() string
	// Finish delivers the published frames to clients that read, and closes everything. The slots
	// must be closed before.
	Finish(ctx context.Context) error
}

// NewTarget creates and starts the server of the spec. The response of a slot may leave once the
// policy local holds for its Seq.
type NewTarget func(spec *Spec, cursors *durability.Cursors) (Target, error)

// Servers returns the servers of this package, for Child.
func Servers() map[string]NewTarget {
	return map[string]NewTarget{"sluice": newPipeline, "goroutines": newGoroutines, "raw": newRaw,
		slotsServer: newPipeline, "loop": newLoop, "channels": newChannels}
}

// serverNames returns the values of --peer. Those that are not in Servers need the program of
// --peers.
func serverNames() []string {
	return []string{"sluice", "goroutines", "single", "netpoll", "gnet", "classic", "bare", "bare8",
		"raw", slotsServer, "loop", "channels", "tape"}
}

// serverCommand returns the program and arguments that serve the spec: this program, or the one
// with the peers.
func (r *Runner) serverCommand(spec *Spec) ([]string, error) {
	if Servers()[spec.Server] != nil || spec.Server == ordersServer || spec.Server == syncServer ||
		spec.Server == hiccupMeter {
		return r.Command, nil
	}
	program := r.Peers
	if program == "" {
		program = filepath.Join(filepath.Dir(r.Command[0]), "peers")
	}
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("bench: the program with server %s is missing (%w): build it with "+
			"`make peers`, or name it with --peers", spec.Server, err)
	}
	return []string{program, ChildArgument}, nil
}

// pipeline is the response stage as it ships.
type pipeline struct {
	*actors.Pipeline[Report, struct{}]
	feedback []*mailbox.Reader[actors.Feedback]
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
	writers, readers := actors.NewFeedback(spec.Shards)
	p, err := actors.Open(actors.Config{
		Feedback: writers,
		Policy:   policy, IO: io, Placement: placement, Idle: idle, Shards: spec.Shards,
		Batch:    spec.Batch,
		MaxFrame: max(spec.Frame, 512), MaxConnections: spec.places(), Heartbeat: time.Hour,
		// Limits are not measured, so a stalled client stays for the whole run.
		Limits: []transport.Limits{{HardBytes: 32 << 20, SoftBytes: 32 << 20,
			SoftFor: time.Hour, NoProgress: time.Hour}},
		ShardBudget: 1 << 30,
		Egress:      actors.EgressConfig{FlushBytes: spec.Flush},
		Log: slog.New(slog.NewTextHandler(os.Stderr,
			&slog.HandlerOptions{Level: slog.LevelWarn})),
	}, frames{}, cursors)
	if err != nil {
		return nil, err
	}
	return &pipeline{p, readers}, nil
}

// Engine implements Target.
func (p *pipeline) Engine() string { return p.Rings()[0].Engine }

// Feedback implements topical.
func (p *pipeline) Feedback() []*mailbox.Reader[actors.Feedback] { return p.feedback }

// Connect implements Target. It hides the method of the pipeline, which has another signature.
func (p *pipeline) Connect(id uint64, fd int) error {
	return p.own(actors.Conn{ID: id, FD: fd, WriteOnly: true})
}

// own connects a socket that belongs to this target. It closes the socket if the pipeline rejects
// it.
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
		Frames: c[telemetry.EgressFramesSent] + c[telemetry.TopicDelivered], Bytes: c[telemetry.EgressBytesSent],
		Sends:   c[telemetry.EgressSendOK] + c[telemetry.EgressSendShort],
		Refused: c[telemetry.EgressSendAgain], Submits: c[telemetry.EgressSubmits],
		Parks: c[telemetry.RunnerParks],
		Polls: c[telemetry.EgressPolls],
	}
	for r := range telemetry.CloseReason(telemetry.NumCloseReasons) {
		n.Closed += c[r.Counter()]
	}
	return n
}

// collections is the number of attempts to collect the counters of all actors, 2 ms each. On a busy
// machine an actor may not respond in the first one.
const collections = 50

// Finish implements Target.
func (p *pipeline) Finish(ctx context.Context) error { return p.Drain(ctx) }
