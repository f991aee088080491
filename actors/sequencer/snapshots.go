package sequencer

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"

	"sluice/durability"
)

// Snapshots writes the application's state to disk beside the sequencer, which only copies it to
// memory. One snapshot is under way at a time; while it is, none is taken.
type Snapshots struct {
	write func(seq durability.Seq, state []byte) error
	fail  func(error) // called for a snapshot that could not be taken or written
	busy  atomic.Bool // written by both sides: true from take until it is written
	size  int         // of the last state in bytes, sequencer only
	work  chan state
	done  chan struct{}
	once  sync.Once
}

type state struct {
	seq  durability.Seq
	data []byte
}

// NewSnapshots makes the writer and starts its goroutine. write puts a state on disk; failed is
// called for snapshots that failed, which only makes the log longer. Both are called on that
// goroutine, failed also on the sequencer's.
func NewSnapshots(write func(seq durability.Seq, state []byte) error, failed func(error)) *Snapshots {
	s := &Snapshots{write: write, fail: failed, work: make(chan state, 1), done: make(chan struct{})}
	go s.run()
	return s
}

func (s *Snapshots) run() {
	defer close(s.done)
	for st := range s.work {
		if err := s.write(st.seq, st.data); err != nil {
			s.fail(err)
		}
		s.busy.Store(false)
	}
}

// take copies the state as of event seq and hands it over; false while the last one is still being
// written. Only the sequencer calls it, and not after Close.
func (s *Snapshots) take(seq durability.Seq, copyTo func(io.Writer) error) bool {
	if s.busy.Load() {
		return false
	}
	b := bytes.NewBuffer(make([]byte, 0, s.size+s.size/8))
	if err := copyTo(b); err != nil {
		s.fail(err)
		return true // not again before the next one is due
	}
	s.size = b.Len()
	s.busy.Store(true)
	s.work <- state{seq, b.Bytes()}
	return true
}

// Close ends the goroutine once it has written the last state; Done says when. Call it after the
// sequencer has ended.
func (s *Snapshots) Close() { s.once.Do(func() { close(s.work) }) }

// Done is closed when the goroutine has ended.
func (s *Snapshots) Done() <-chan struct{} { return s.done }
