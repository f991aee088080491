package node

import (
	"context"
	"io"
	"iter"
	"time"

	"sluice/actors/sequencer"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/telemetry"
)

// Copies of the application take turns with those that serve clients, which may need the processor:
// after copyWork of work a copy rests for copyRest.
const (
	copyWork = time.Millisecond
	copyRest = time.Millisecond
	copyPace = 16 // events between two looks at the clock
)

// copied makes the snapshot of an event on a copy of the application, beside the sequencer: a second
// instance is restored from the newest snapshot, and follows the journal to the event. It returns when
// the snapshot is installed.
//
//	journal    [ snapshot ] events ....... at .........> written to
//	copy            restore, replay ------> digests compared, snapshot, installed
//
// It begins no earlier than the event is on disk. While it reads, nothing else installs snapshots, which
// would remove its files. After ctx has ended it installs nothing.
func (n *Node[R, Q]) copied(ctx context.Context, at sequencer.Mark) error {
	s := n.store
	p := &pacer{beat: &s.writing}
	p.step()
	defer s.writing.End()
	s.snapshots.start(at.Seq)
	if err := s.await(ctx, at.Seq); err != nil {
		return err
	}
	past, err := s.journal.Past(at.Seq)
	if err != nil {
		return err
	}
	app := n.cfg.Application()
	if err := n.genesis(app); err != nil { // it has the configuration of the data directory
		return err
	}
	write, err := sequencer.Copy(ctx, app, n.cfg.Encoder, paced{past, p}, s.skips, at)
	if err != nil {
		return err
	}
	prepared, err := s.journal.PrepareSnapshot(at.Seq, func(w io.Writer) error {
		return write(pacedWriter{w, p})
	})
	if err != nil {
		return err
	}
	return s.offer(ctx, prepared)
}

// await returns when an event is on disk.
func (s *store) await(ctx context.Context, seq durability.Seq) error {
	s.wanted.Store(uint64(seq))
	defer s.wanted.Store(0)
	for s.persisted.Load() < uint64(seq) {
		select {
		case <-s.reached:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// offer has a snapshot installed by the journal's goroutine, and waits for that.
func (s *store) offer(ctx context.Context, prepared *journal.Snapshot) error {
	select {
	case <-s.installed: // of one whose copy was not awaited
	default:
	}
	if ctx.Err() != nil {
		return prepared.Discard()
	}
	if err := s.committer.Offer(prepared); err != nil {
		return err
	}
	select {
	case <-s.installed:
	case <-ctx.Done():
	}
	return nil
}

// token puts a token into a channel that has room for one.
func token(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pacer makes a copy rest, and says that it goes on.
type pacer struct {
	beat  *telemetry.Beat
	since time.Time // when the last rest ended
}

func (p *pacer) step() {
	p.beat.Begin()
	if now := time.Now(); now.Sub(p.since) >= copyWork {
		time.Sleep(copyRest)
		p.since = time.Now()
	}
}

// paced is what a copy reads.
type paced struct {
	past *journal.Recovery
	pace *pacer
}

// Restore implements sequencer.Recovered.
func (p paced) Restore(read func(io.Reader) error) error {
	return p.past.Restore(func(r io.Reader) error { return read(pacedReader{r, p.pace}) })
}

// Events implements sequencer.Recovered.
func (p paced) Events() iter.Seq2[journal.Event, error] {
	return func(yield func(journal.Event, error) bool) {
		for ev, err := range p.past.Events() {
			if ev.Seq%copyPace == 0 {
				p.pace.step()
			}
			if !yield(ev, err) {
				return
			}
		}
	}
}

type pacedReader struct {
	r    io.Reader
	pace *pacer
}

// Read implements io.Reader.
func (p pacedReader) Read(b []byte) (int, error) { p.pace.step(); return p.r.Read(b) }

type pacedWriter struct {
	w    io.Writer
	pace *pacer
}

// Write implements io.Writer.
func (p pacedWriter) Write(b []byte) (int, error) { p.pace.step(); return p.w.Write(b) }
