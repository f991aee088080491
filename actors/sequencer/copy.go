package sequencer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"sluice/durability"
	"sluice/encode"
)

// ErrDiverged is the error of a replay whose outputs are not those of the run.
var ErrDiverged = errors.New("a replay has other outputs than the run")

// Copy brings an empty application to the state that the sequencer had at a mark, by a replay of the
// journal beside the sequencer, and returns what writes its snapshot. The digest of all outputs must
// be that of the mark, or the error is ErrDiverged: the application is not deterministic, or its
// instances share something that changes. from leads to the event of the mark and no further.
//
//	live:  event 1 ........ mark ..............> goes on
//	copy:        [ snapshot before ]--> replay --> mark, digests compared --> next snapshot
func Copy[R, Q any](ctx context.Context, app Application[R, Q], encoder encode.Encoder[R, Q],
	from Recovered, skip []durability.Seq, at Mark) (snapshot func(io.Writer) error, err error) {
	state, _, err := Replay(ctx, app, encoder, from, skip)
	if err != nil {
		return nil, err
	}
	if state.last != at.Seq {
		return nil, fmt.Errorf("sequencer: snapshot and journal lead to event %d instead of %d",
			state.last, at.Seq)
	}
	if digest, outputs := state.Digest(); digest != at.Digest || outputs != at.Outputs {
		return nil, fmt.Errorf("sequencer: %w: the digest of all outputs up to event %d is %016x (%d outputs), "+
			"in the replay it is %016x (%d outputs); the application is not deterministic, or its "+
			"instances share state; a restart may come to a state that clients have not seen", ErrDiverged,
			at.Seq, at.Digest, at.Outputs, digest, outputs)
	}
	return func(w io.Writer) error { return writeSnapshot(state, app, cancellableWriter{ctx, w}) }, nil
}

// writeSnapshot writes what the sequencer remembers, then the application's state.
func writeSnapshot[R, Q any](state *State, app Application[R, Q], w io.Writer) error {
	if err := state.write(w); err != nil {
		return err
	}
	return app.Snapshot(w)
}

// cancellableWriter is a writer that fails once ctx has ended.
type cancellableWriter struct {
	ctx context.Context
	w   io.Writer
}

// Write implements io.Writer.
func (c cancellableWriter) Write(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.w.Write(p)
}
