package sequencer

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"sluice/actors/internal/run"
	"sluice/durability"
)

// Mark is an event, and the digest of all outputs up to it.
type Mark struct {
	Seq             durability.Seq
	Digest, Outputs uint64
}

// Snapshots has snapshots made beside the sequencer, which only says of which event and goes on. One
// is made at a time; while it is, none is begun.
type Snapshots struct {
	copy   func(context.Context, Mark) error
	fail   func(error)
	busy   atomic.Bool // written by both sides: true from begin until it is made
	marks  chan Mark
	ctx    context.Context // of the one being made
	cancel context.CancelFunc
	done   chan struct{}
	once   sync.Once
}

// NewSnapshots starts the goroutine that has snapshots made. copy makes one, usually with Copy, and
// returns soon after its context has ended; failed is called with its error, which only makes the log
// longer. A panic of copy is its error. Both are called on goroutines of Snapshots, one at a time.
func NewSnapshots(copy func(context.Context, Mark) error, failed func(error)) *Snapshots {
	s := &Snapshots{copy: copy, fail: failed, marks: make(chan Mark, 1), done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go s.run()
	return s
}

func (s *Snapshots) run() {
	defer close(s.done)
	for at := range s.marks {
		result := make(chan error, 1)
		go s.guarded(at, result) // a goroutine of its own, because runtime.Goexit ends it
		if err := <-result; err != nil && s.ctx.Err() == nil {
			s.fail(fmt.Errorf("of event %d: %w", at.Seq, err))
		}
		s.busy.Store(false)
	}
}

// guarded makes a snapshot.
func (s *Snapshots) guarded(at Mark, result chan<- error) {
	err := run.ErrGoexit
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the copy of the application panicked: %v\n%s", v, debug.Stack())
		}
		result <- err
	}()
	err = s.copy(s.ctx, at)
}

// ready reports whether no snapshot is being made. Only the sequencer calls it.
func (s *Snapshots) ready() bool { return !s.busy.Load() }

// begin has a snapshot made. It does not wait. Only the sequencer calls it, while Snapshots is ready and
// not after Close.
func (s *Snapshots) begin(at Mark) {
	s.busy.Store(true)
	s.marks <- at
}

// Close ends the goroutine, and the context of the snapshot that is being made; Done says when. Call
// it after the sequencer has ended.
func (s *Snapshots) Close() {
	s.once.Do(func() { s.cancel(); close(s.marks) })
}

// Done is closed when the goroutine has ended.
func (s *Snapshots) Done() <-chan struct{} { return s.done }
