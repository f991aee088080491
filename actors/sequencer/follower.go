package sequencer

import (
	"io"

	"sluice/durability"
	"sluice/durability/journal"
	"sluice/encode"
)

// Follower applies the events of a log that grows, and so keeps an application at the state that its
// sequencer elsewhere has. Their outputs are encoded and added to the digest, and go nowhere. One
// goroutine uses it.
//
//	NewFollower -> Restore (or none: an empty log) -> Apply, Apply, ... -> Lend -> a Sequencer goes on
//
// After an error the application is at no known state: make another follower, with another application.
type Follower[R, Q any] struct{ replay[R, Q] }

// NewFollower makes a follower of an empty log. The application is empty.
func NewFollower[R, Q any](app Application[R, Q], encoder encode.Encoder[R, Q]) *Follower[R, Q] {
	return Following(app, encoder, NewState())
}

// Following makes a follower that goes on after a Sequencer that has ended without a panic: app and
// state are those that it had.
func Following[R, Q any](app Application[R, Q], encoder encode.Encoder[R, Q], state *State) *Follower[R, Q] {
	return &Follower[R, Q]{*newReplay(app, encoder, state)}
}

// Restore takes over a snapshot that a sequencer, or WriteSnapshot, wrote. It is called before Apply.
func (f *Follower[R, Q]) Restore(r io.Reader) error {
	state, err := readState(r)
	if err != nil {
		return err
	}
	state.snapshot = state.last
	if err := f.app.Restore(r); err != nil {
		return err
	}
	f.replay = *newReplay(f.app, f.out.encoder, state)
	return nil
}

// Apply applies the event after the last one. An error names the event: one that does not follow, one
// that cannot be applied (a *ReplayError), or a checkpoint with another digest of all outputs
// (ErrDiverged).
func (f *Follower[R, Q]) Apply(ev journal.Event) error { return f.event(ev, false) }

// Last is the last event applied.
func (f *Follower[R, Q]) Last() durability.Seq { return f.state.last }

// Policy is the policy of the log after the last event; false if the log has none.
func (f *Follower[R, Q]) Policy() (durability.Policy, bool) { return f.state.Policy() }

// Digest is the digest and the number of all outputs so far.
func (f *Follower[R, Q]) Digest() (digest, outputs uint64) { return f.state.Digest() }

// WriteSnapshot writes the state after the last event.
func (f *Follower[R, Q]) WriteSnapshot(w io.Writer) error { return writeSnapshot(f.state, f.app, w) }

// Lend returns application and state for a Sequencer, whose they are from then on; see Following. The
// error says that the application does not have the rules in force.
func (f *Follower[R, Q]) Lend() (Application[R, Q], *State, error) {
	if err := f.end(); err != nil {
		return nil, nil, err
	}
	return f.app, f.state, nil
}
