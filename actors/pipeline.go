package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/actors/internal/run"
	"sluice/actors/internal/shard"
	"sluice/durability"
	"sluice/encode"
	"sluice/mailbox"
	"sluice/telemetry"
	"sluice/transport"
)

// Pipeline is the response stage: it takes the application's slots, holds each one back until the
// policy is met for it, encodes it and sends it to its client.
//
//	Slots() ==> gate ==> encode ==> shard 0 .. K-1 ==> sockets
//	Connect, Disconnect, Busy, Kick ==> control ==> shards
//
// Its methods may be called from any goroutine at any time, including after it has ended. The only
// exception is the end of the slot ring that Slots returns, which belongs to one producer.
//
// The groups of fields are: what is shared by the actors; the actors and what they read; the end;
// and the sockets.
type Pipeline[R, Q any] struct {
	cfg    Config
	slots  *mailbox.Writer[Slot[R, Q]]
	policy *durability.Switch
	phase  *run.Phase
	alarm  *durability.Degradation
	limits atomic.Pointer[[]transport.Limits] // written by SetLimits, read by shards every step
	permit atomic.Int64                       // connections that are open or being opened

	farewell atomic.Pointer[encode.Control] // written by SetFarewell, read by shards at the end

	gate      *gate[R, Q]
	encoder   *encoder[R, Q]
	control   *control
	shards    []*shard.Shard
	rings     []transport.Info
	diagnosis transport.Diagnosis
	runner    *run.Runner
	mail      controlMail

	ended chan struct{} // closed when every goroutine has ended and every socket is closed or in orphans
	err   error         // why it ended; read after ended is closed
	left  leftover      // what the end found unfinished; read after ended is closed

	listTurn chan struct{} // holds a token while a list of connections is in progress

	sockets sockets
}

// sockets are the descriptors that the pipeline owns.
type sockets struct {
	owned   shard.Sockets
	mu      sync.Mutex
	orphans map[uint64]int32 // those that a reader still uses after the end, by connection
}

// controlMail is the way of a control event: from any goroutine to control, and from there to the shards.
type controlMail struct {
	events *mailbox.Sender[shard.Event]
	inbox  *mailbox.Receiver[shard.Event]
	queues []*mailbox.Reader[shard.Event] // of the shards, to be emptied after the end
}

// PanicError is the error of a pipeline whose actor panicked (R32).
type PanicError struct {
	Actor string
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("actors: %s panicked: %v\n%s", e.Actor, e.Value,
		strings.TrimSpace(string(e.Stack)))
}

// ErrFull is wrapped by the error of Connect if the connection limit is reached.
var ErrFull = errors.New("connection limit reached")

// Open returns a running pipeline. source reports how far events are durable. After an error
// nothing is left running or open. End the pipeline with Drain, Stop or Fence.
func Open[R, Q any](
	cfg Config, encoder encode.Encoder[R, Q], source durability.Source,
) (*Pipeline[R, Q], error) {
	p, err := newPipeline(cfg, encoder, source)
	if err != nil {
		return nil, err
	}
	p.start()
	return p, nil
}

// newPipeline makes a pipeline that does not run. Simulators and benchmarks step its actors
// themselves.
func newPipeline[R, Q any](
	cfg Config, encoder encode.Encoder[R, Q], source durability.Source,
) (*Pipeline[R, Q], error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	framer, err := encode.NewFramer(encoder, cfg.Framing, cfg.MaxFrame)
	if err != nil {
		return nil, err
	}
	p := &Pipeline[R, Q]{
		cfg: cfg, policy: durability.NewSwitch(cfg.Policy), phase: new(run.Phase),
		alarm: new(durability.Degradation),
		ended: make(chan struct{}), listTurn: make(chan struct{}, 1),
		sockets: sockets{orphans: map[uint64]int32{}},
	}
	p.limits.Store(&cfg.Limits)
	if err := p.build(framer, source); err != nil {
		return nil, err
	}
	return p, nil
}

// build makes the actors, the mailboxes between them, and the groups they run in.
func (p *Pipeline[R, Q]) build(framer *encode.Framer[R, Q], source durability.Source) error {
	cfg := &p.cfg
	groups, of := place(cfg)
	cfg.warnSpin(len(groups))
	if cfg.Batch == 0 {
		cfg.Batch = batchApart
		if of(roleGate) == of(roleShard) {
			cfg.Batch = batchShared
		}
	}
	signal := func(r role) *mailbox.Signal { return of(r).Signal() }

	writer, readers := mailbox.NewChain[Slot[R, Q]](cfg.Slots, 2)
	laneIn, laneOut := mailbox.NewSPSC[laneEntry[R, Q]](laneSlots)
	p.slots = writer
	p.gate = &gate[R, Q]{
		slots: readers[0], barriers: cfg.Barriers, lane: laneIn, source: source,
		policy: p.policy, phase: p.phase, ended: make(chan struct{}),
		rec: cfg.Collector.Register("gate", telemetry.NoShard), sampler: cfg.Sampler,
		batch: cfg.Batch, alarm: p.alarm, onAlarm: p.logDegraded,
	}
	p.encoder = &encoder[R, Q]{
		slots: readers[1], lane: laneOut, framer: framer, batch: cfg.Batch,
		claim:  shard.RecordBytes + framer.Room() + shard.ParentBytes,
		rec:    cfg.Collector.Register("encode", telemetry.NoShard),
		errors: encodeErrors{log: cfg.Log}, waiting: make([]int, cfg.Shards),
	}
	p.mail.events, p.mail.inbox = mailbox.NewMPSC[shard.Event](controlEvents)
	p.control = &control{
		events: p.mail.inbox, notify: cfg.OnNotice, batch: shard.EventBatch,
		rec: cfg.Collector.Register("control", telemetry.NoShard),
	}
	readers[0].SetSignal(signal(roleGate))
	readers[1].SetSignal(signal(roleEncode))
	laneIn.SetRoom(signal(roleGate))
	laneOut.SetSignal(signal(roleEncode))
	p.mail.inbox.SetSignal(signal(roleControl))
	source.SetWaker(signal(roleGate))
	p.policy.SetWaker(signal(roleGate))
	of(roleControl).Actors = append(of(roleControl).Actors, p.control)
	of(roleGate).Actors = append(of(roleGate).Actors, p.gate)
	of(roleEncode).Actors = append(of(roleEncode).Actors, p.encoder)
	for i := range cfg.Shards {
		if err := p.addShard(i, of, signal); err != nil {
			for _, e := range p.shards {
				err = errors.Join(err, e.CloseRing())
			}
			return err
		}
	}
	record := shard.RunBytes
	for _, ring := range p.encoder.shards {
		record = min(record, ring.MaxRecord())
	}
	p.encoder.runs = newRuns(cfg.Batch, framer.Room(), cfg.runLeast, record)
	p.gauges()
	p.runner = run.NewRunner(cfg.Clock.Now, p.failed, groups...)
	p.runner.SetPanicError(func(actor string, value any, stack []byte) error {
		return &PanicError{Actor: actor, Value: value, Stack: stack}
	})
	return nil
}

// addShard makes one shard and connects its mailboxes.
func (p *Pipeline[R, Q]) addShard(
	i int, of func(role) *run.Group, signal func(role) *mailbox.Signal,
) error {
	cfg := &p.cfg
	own := roleShard + role(i)
	slab, err := transport.NewSlab(cfg.segment(cfg.Limits), cfg.ShardBudget)
	if err != nil {
		return err
	}
	ring, err := p.openRing(i, transport.RingConfig{Entries: cfg.RingEntries,
		Wake: of(own).Idle.Wake})
	if err != nil {
		return fmt.Errorf("actors: ring of shard %d: %w", i, err)
	}
	frames, inbox := mailbox.NewBytes(cfg.frameRing(of(own) == of(roleEncode)))
	events, queue := mailbox.NewSPSC[shard.Event](shardEvents)
	notices, observed := mailbox.NewSPSC[shard.Notice](shardNotices)
	if of(own) != of(roleEncode) { // a shard of the same group makes room in its own round
		frames.SetRoom(signal(roleEncode))
	}
	inbox.SetSignal(signal(own))
	events.SetRoom(signal(roleControl))
	queue.SetSignal(signal(own))
	observed.SetSignal(signal(roleControl))
	var feedback *mailbox.Writer[Feedback]
	if cfg.Feedback != nil {
		feedback = cfg.Feedback[i]
	}
	e := shard.New(shard.Parts{
		Shard: i, Config: cfg.Egress.parts(p.encoder.framer.Framing(), &cfg.Topics), Frames: inbox,
		Events: queue, Notices: notices, Feedback: feedback, Ring: ring, Sockets: &p.sockets.owned, Slab: slab,
		Limits: &p.limits, Permit: &p.permit, Phase: p.phase, Farewell: &p.farewell,
		Recorder: cfg.Collector.Register("egress", i), Box: telemetry.NewTraceBox(traceRecords),
		Sampler: cfg.Sampler, Alarm: p.alarm,
	})
	p.rings = append(p.rings, ring.Info())
	p.shards = append(p.shards, e)
	p.mail.queues = append(p.mail.queues, queue)
	p.encoder.shards = append(p.encoder.shards, frames)
	p.encoder.apart = append(p.encoder.apart, of(own) != of(roleEncode))
	p.control.shards = append(p.control.shards, events)
	p.control.notices = append(p.control.notices, observed)
	of(own).Actors = append(of(own).Actors, e)
	return nil
}

// openRing opens a shard's ring and logs a warning if io_uring is not in use although it was
// wanted.
func (p *Pipeline[R, Q]) openRing(shard int, rc transport.RingConfig) (transport.Ring, error) {
	if p.cfg.OpenRing != nil {
		return p.cfg.OpenRing(shard, rc)
	}
	ring, diagnosis, err := transport.Open(p.cfg.IO, rc)
	if shard == 0 && diagnosis.FellBack {
		p.cfg.Log.Warn(diagnosis.Text, "engine", diagnosis.Engine, "cause",
			diagnosis.Fallback.String())
	}
	p.diagnosis = *diagnosis
	return ring, err
}

// Slots returns the producer's end of the slot ring, which belongs to one goroutine.
func (p *Pipeline[R, Q]) Slots() *mailbox.Writer[Slot[R, Q]] { return p.slots }

// Now is the time of the pipeline's clock, monotonic ns, with which slots are stamped.
func (p *Pipeline[R, Q]) Now() int64 { return p.cfg.Clock.Now() }

// Clock is the clock of Now, for telemetry/otel, which exports its stamps.
func (p *Pipeline[R, Q]) Clock() telemetry.Clock { return p.cfg.Clock }

// Rings returns the engine of each shard.
func (p *Pipeline[R, Q]) Rings() []transport.Info { return p.rings }

// Diagnosis is which engine the rings use, and why.
func (p *Pipeline[R, Q]) Diagnosis() transport.Diagnosis { return p.diagnosis }

// Collector returns the pipeline's measurements.
func (p *Pipeline[R, Q]) Collector() *telemetry.Collector { return p.cfg.Collector }

// Traces returns the boxes of sampled responses, one for each shard. Each has one consumer;
// consuming them is optional.
func (p *Pipeline[R, Q]) Traces() []*telemetry.TraceBox {
	var boxes []*telemetry.TraceBox
	for _, e := range p.shards {
		boxes = append(boxes, e.TraceBox())
	}
	return boxes
}

// Sampler returns the rules of what is traced, which can be replaced at run time.
func (p *Pipeline[R, Q]) Sampler() *telemetry.Sampler { return p.cfg.Sampler }

// Policy returns the durability policy in force. Its Swap changes it at run time (R10).
func (p *Pipeline[R, Q]) Policy() *durability.Switch { return p.policy }

// Connections is the number of connections that hold a permit.
func (p *Pipeline[R, Q]) Connections() int { return int(p.permit.Load()) }

// Degraded reports whether the policy needs more nodes than are in view, and for how long it has in
// total.
func (p *Pipeline[R, Q]) Degraded() (now bool, total time.Duration) {
	return p.alarm.Degraded(), p.alarm.Total(p.Now())
}

// SetLimits replaces the slow-client limits; classes keep their numbers. Shards use the new limits
// from their next step on.
func (p *Pipeline[R, Q]) SetLimits(classes []transport.Limits) error {
	if len(classes) < len(*p.limits.Load()) {
		return fmt.Errorf("actors: %d classes of limits; connections use %d", len(classes),
			len(*p.limits.Load()))
	}
	if p.cfg.segment(classes) > p.cfg.segment(p.cfg.Limits) {
		return fmt.Errorf("actors: a hard limit above %d B needs a restart, "+
			"because it is the size of buffer blocks", p.cfg.segment(p.cfg.Limits))
	}
	if err := p.cfg.checkLimits(classes); err != nil {
		return err
	}
	own := append([]transport.Limits(nil), classes...)
	p.limits.Store(&own)
	return nil
}

// logDegraded writes the lines of the degradation tracker, at most one every few seconds. It runs
// on the gate's goroutine.
func (p *Pipeline[R, Q]) logDegraded(n durability.Notice) {
	level := slog.LevelWarn
	if n.Kind == durability.Recovered {
		level = slog.LevelInfo
	}
	p.cfg.Log.Log(context.Background(), level, n.String(), "policy", p.policy.Current().String())
}

// closeSocket closes a socket that outlived its shard.
func (p *Pipeline[R, Q]) closeSocket(conn uint64, fd int32) {
	if err := p.sockets.owned.Close(fd, closeDescriptor); err != nil {
		p.cfg.Log.Error("closing a socket failed", "connection", conn, "fd", fd, "error", err)
	}
}
