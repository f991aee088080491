package sequencer

import (
	"context"
	"fmt"
	"io"
	"iter"
	"runtime/debug"

	"sluice/durability/journal"
)

// Recovered is what a journal found on disk; *journal.Recovery is one.
type Recovered interface {
	Restore(read func(io.Reader) error) error
	Events() iter.Seq2[journal.Event, error]
}

// replayLook is after how many events a replay looks for the end of its context.
const replayLook = 1024

// Replay rebuilds an application: it restores the snapshot and applies the events after it, whose
// outputs go nowhere, because they were answered in the run that journaled them. It returns the
// number of events applied. An error names the event that could not be applied.
func Replay[R, Q any](ctx context.Context, app Application[R, Q], from Recovered) (applied uint64,
	err error) {
	err = from.Restore(func(r io.Reader) error { return app.Restore(cancellable{ctx, r}) })
	if err != nil {
		return 0, err
	}
	var out discard[R, Q]
	var e Event
	for ev, err := range from.Events() {
		if err == nil && applied%replayLook == 0 {
			err = context.Cause(ctx)
		}
		if err != nil {
			return applied, err
		}
		if err := DecodeEvent(ev.Payload, &e); err != nil {
			return applied, fmt.Errorf("event %d of the journal: %w", ev.Seq, err)
		}
		e.Seq = uint64(ev.Seq)
		if err := deliver(app, &e, &out); err != nil {
			return applied, err
		}
		applied++
	}
	return applied, nil
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

// deliver turns a panic of the application into an error: the journal is not its own, or was written
// by another version.
func deliver[R, Q any](app Application[R, Q], ev *Event, out Emitter[R, Q]) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("sequencer: event %d of the journal (%s, tag 0x%02x) cannot be applied; "+
				"was it written by another application or with other limits? %v\n%s",
				ev.Seq, ev.Kind, ev.Tag, v, debug.Stack())
		}
	}()
	Deliver(app, ev, out)
	return nil
}
