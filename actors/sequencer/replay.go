package sequencer

import (
	"context"
	"fmt"
	"io"
	"iter"
	"runtime/debug"
	"slices"

	"sluice/durability"
	"sluice/durability/journal"
	"sluice/encode"
)

// Recovered is what a journal found on disk; *journal.Recovery is one.
type Recovered interface {
	Restore(read func(io.Reader) error) error
	Events() iter.Seq2[journal.Event, error]
}

// replayLook is after how many events a replay looks for the end of its context.
const replayLook = 1024

// Replay rebuilds an application: it restores the snapshot and applies the events after it, except
// those in skip. Their outputs are encoded and hashed but go nowhere, because they were answered in
// the run that journaled them. It returns the state for a Sequencer that continues, and the number
// of events read. An error names the event: one that cannot be applied (a *ReplayError), or a
// checkpoint whose digest is not that of the replay.
func Replay[R, Q any](ctx context.Context, app Application[R, Q], encoder encode.Encoder[R, Q],
	from Recovered, skip []durability.Seq) (state *State, read uint64, err error) {
	state = NewState()
	err = from.Restore(func(r io.Reader) (err error) {
		if state, err = readState(cancellable{ctx, r}); err != nil {
			return err
		}
		state.snapshot = state.last
		return app.Restore(cancellable{ctx, r})
	})
	if err != nil {
		return nil, 0, err
	}
	p := newReplay(app, encoder, state)
	for ev, err := range from.Events() {
		if err == nil && read%replayLook == 0 {
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, read, err
		}
		if err := p.event(ev, slices.Contains(skip, ev.Seq)); err != nil {
			return nil, read, err
		}
		read++
		state.replayedBytes += uint64(len(ev.Payload))
	}
	state.replayed = read
	if err := p.end(); err != nil {
		return nil, read, err
	}
	return state, read, nil
}

// replay applies the events of a journal.
type replay[R, Q any] struct {
	app   Application[R, Q]
	state *State
	out   replayed[R, Q]
	ev    Event
	rules uint32 // that the application follows
}

func newReplay[R, Q any](app Application[R, Q], encoder encode.Encoder[R, Q],
	state *State) *replay[R, Q] {
	p := &replay[R, Q]{app: app, state: state, rules: versionOf(app)}
	p.out.hasher = newHasher(&state.outputs, encoder, encode.DefaultMaxFrame)
	return p
}

// versionOf is the version of an application's rules, 0 if it is not Versioned.
func versionOf[R, Q any](app Application[R, Q]) uint32 {
	if v, ok := app.(Versioned); ok {
		return v.Version()
	}
	return 0
}

// event applies an event, or only takes notice of it if it is to be left out.
func (p *replay[R, Q]) event(from journal.Event, skip bool) error {
	ev, s := &p.ev, p.state
	if from.Seq != s.last+1 {
		return fmt.Errorf("event %d of the journal follows event %d", from.Seq, s.last)
	}
	if err := DecodeEvent(from.Payload, ev); err != nil {
		return fmt.Errorf("event %d of the journal: %w", from.Seq, err)
	}
	ev.Seq = uint64(from.Seq)
	var known bool
	if ev.Identity.Key, known = s.key(ev.Identity.Number); !known {
		return fmt.Errorf("event %d of the journal is of identity %d, to which no event before it "+
			"gives a key", from.Seq, ev.Identity.Number)
	}
	if ev.Time < s.time {
		return fmt.Errorf("event %d of the journal is of %d ns since 1970, the one before it of %d; "+
			"time never falls", from.Seq, ev.Time, s.time)
	}
	switch {
	case ev.Kind == KindCheckpoint:
		if err := p.check(ev); err != nil {
			return err
		}
	case ev.Kind > KindTick:
	case skip:
		s.leftOut = append(s.leftOut, from.Seq)
	default:
		if err := p.follow(ev); err != nil {
			return err
		}
		if err := p.deliver(ev); err != nil {
			return err
		}
	}
	if err := s.note(ev); err != nil {
		return fmt.Errorf("event %d of the journal (%s): %w", from.Seq, ev.Kind, err)
	}
	return nil
}

// follow has the application follow the rules in force.
func (p *replay[R, Q]) follow(ev *Event) error {
	if p.rules == p.state.rules {
		return nil
	}
	v, ok := p.app.(Versioned)
	if !ok {
		return fmt.Errorf("event %d of the journal was judged by version %d of the application's "+
			"rules, and this program has only version 0; start the program that wrote it", ev.Seq,
			p.state.rules)
	}
	if err := v.UseRules(p.state.rules); err != nil {
		return fmt.Errorf("event %d of the journal was judged by version %d of the application's "+
			"rules, this program has version %d: %w", ev.Seq, p.state.rules, v.Version(), err)
	}
	p.rules = p.state.rules
	return nil
}

// end has the application follow its own rules again. An older program must have the newer rules in
// force, also if a snapshot left no event of theirs to apply: the state is what they made of it.
func (p *replay[R, Q]) end() error {
	v, ok := p.app.(Versioned)
	if !ok {
		return nil
	}
	if p.state.rules > v.Version() {
		if err := p.follow(&Event{Seq: uint64(p.state.last)}); err != nil {
			return err
		}
	}
	if p.rules == v.Version() {
		return nil
	}
	if err := v.UseRules(v.Version()); err != nil {
		return fmt.Errorf("sequencer: the application does not follow its own rules, version %d: %w",
			v.Version(), err)
	}
	return nil
}

// check compares a checkpoint with the outputs so far. From an event that was left out up to its
// skip in the journal, the outputs were other ones in the run that journaled the checkpoint.
func (p *replay[R, Q]) check(ev *Event) error {
	digest, outputs := ev.Checkpoint()
	ours, n := p.state.Digest()
	if len(p.state.leftOut) > 0 || ours == digest && n == outputs {
		return nil
	}
	return fmt.Errorf("checkpoint event %d of the journal: the digest of all outputs was %016x (%d "+
		"outputs), in this replay it is %016x (%d outputs): %w, so an event before it has other outputs "+
		"now; start the program that wrote the journal", ev.Seq, digest, outputs, ours, n, ErrDiverged)
}

// ReplayError is an event of a journal on which the application panics: the event was written by
// another program or under another configuration, or meets a bug.
type ReplayError struct {
	Seq   durability.Seq
	Kind  Kind
	Tag   uint8 // of a request
	Value any
	Stack []byte
}

func (e *ReplayError) Error() string {
	return fmt.Sprintf("sequencer: event %d of the journal (%s, tag 0x%02x) cannot be applied; "+
		"was it written by another application or with other limits? %v\n%s", e.Seq, e.Kind, e.Tag,
		e.Value, e.Stack)
}

// deliver turns a panic of the application into a *ReplayError.
func (p *replay[R, Q]) deliver(ev *Event) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &ReplayError{durability.Seq(ev.Seq), ev.Kind, ev.Tag, v, debug.Stack()}
		}
	}()
	p.out.gone = 0
	if ev.Kind == KindDisconnected {
		p.out.gone = ev.Conn
	}
	Deliver(p.app, ev, &p.out)
	p.out.finish()
	return nil
}

// cancellable is a reader that fails once ctx has ended.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (c cancellable) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// replayed is the emitter of a replay: it hashes a report when the next one begins.
type replayed[R, Q any] struct {
	hasher[R, Q]
	report    R
	query     Q
	published R
	conn      uint64 // of report
	pending   bool   // report is not hashed yet
	gone      uint64 // reports to this connection are dropped
}

// Report implements Emitter.
func (d *replayed[R, Q]) Report(conn uint64) *R {
	if conn == 0 {
		panic(reportToNobody)
	}
	d.finish()
	var zero R
	d.report = zero
	d.conn, d.pending = conn, conn != d.gone
	return &d.report
}

// Query implements Emitter.
func (d *replayed[R, Q]) Query(uint64) *Q {
	var zero Q
	d.query = zero
	return &d.query
}

// Publish implements Emitter. Topic frames are not part of the digest.
func (d *replayed[R, Q]) Publish(_, _ uint64) *R {
	var zero R
	d.published = zero
	return &d.published
}

// Subscribed implements Audience.
func (d *replayed[R, Q]) Subscribed() bool { return false }

// finish hashes the last report.
func (d *replayed[R, Q]) finish() {
	if !d.pending {
		return
	}
	d.pending = false
	defer func() { _ = recover() }() // of the encoder: the report counts without its frame
	d.add(d.conn, &d.report)
}
