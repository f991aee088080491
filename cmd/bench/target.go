package bench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"sluice/actors"
	"sluice/durability"
	"sluice/mailbox"
	"sluice/telemetry"
	"sluice/transport"
)

// target is a server under test.
type target interface {
	// slots is the producer's end of the slot ring.
	slots() *mailbox.Writer[slot]
	// now is the clock of Slot.Received.
	now() int64
	// connect hands a connected, non-blocking socket over.
	connect(id uint64, fd int) error
	// counts may be called from any goroutine.
	counts() Counts
	// engine names what sends.
	engine() string
	// finish delivers what was published, as far as clients read, and closes everything; the slots are closed before.
	finish(ctx context.Context) error
}

// newTarget makes the server of the spec.
func newTarget(spec *Spec, cursors *durability.Cursors) (target, error) {
	switch spec.Server {
	case "sluice":
		return newPipeline(spec, cursors)
	case "goroutines":
		return newGoroutines(spec, cursors), nil
	}
	return nil, fmt.Errorf("bench: server %q is unknown; use sluice or goroutines", spec.Server)
}

// pipeline is the response stage as it ships.
type pipeline struct {
	*actors.Pipeline[Report, struct{}]
}

func newPipeline(spec *Spec, cursors *durability.Cursors) (*pipeline, error) {
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
	p, err := actors.New(actors.Config{
		Policy: durability.Local(), IO: io, Placement: placement, Idle: idle, Shards: spec.Shards, Batch: spec.Batch,
		MaxFrame: max(spec.Frame, 512), MaxConnections: spec.Connections, Heartbeat: time.Hour,
		// Limits are not what is measured: a stalled client stays for the whole run.
		Limits:      []transport.Limits{{HardBytes: 32 << 20, SoftBytes: 32 << 20, SoftFor: time.Hour, NoProgress: time.Hour}},
		ShardBudget: 1 << 30,
		Egress:      actors.EgressConfig{FlushBytes: spec.Flush},
		Log:         slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}, frames{}, cursors)
	if err != nil {
		return nil, err
	}
	p.Start()
	return &pipeline{p}, nil
}

func (p *pipeline) slots() *mailbox.Writer[slot] { return p.Slots() }
func (p *pipeline) now() int64                   { return p.Now() }
func (p *pipeline) engine() string               { return p.Rings()[0].Engine }

func (p *pipeline) connect(id uint64, fd int) error {
	return p.Connect(actors.Conn{ID: id, FD: fd, Alone: true})
}

func (p *pipeline) counts() Counts {
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

func (p *pipeline) finish(ctx context.Context) error { return p.Drain(ctx) }
