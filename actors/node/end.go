package node

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// mode is how the server ends.
type mode uint8

const (
	draining mode = iota // what was accepted is sequenced, journaled and answered
	stopping             // what is on disk is answered if the sockets take it at once
	fencing              // not another byte leaves
)

// Drain ends the server in order: it stops accepting, carries out the requests it took, commits and answers them, and closes
// the connections. When ctx ends first, what is left is dropped, and the error says so; also then it returns within
// ctx's deadline, unless the disk does not answer.
func (s *Server) Drain(ctx context.Context) error { return s.end(ctx, draining) }

// Stop ends the server now: requests not carried out yet are forgotten, outputs that are released are sent if the
// sockets take them at once. It ends a Drain that is under way. Without a deadline it takes FailTimeout at most.
func (s *Server) Stop(ctx context.Context) error { return s.end(ctx, stopping) }

// Fence ends the server without sending another byte, because another node took over (R15).
func (s *Server) Fence(ctx context.Context) error { return s.end(ctx, fencing) }

// Ended is closed when the server has ended, for whatever reason.
func (s *Server) Ended() <-chan struct{} { return s.ended }

// Err says why the server ended: nil after an orderly end with everything answered. It waits for Ended.
func (s *Server) Err() error {
	<-s.ended
	s.errMu.Lock()
	defer s.errMu.Unlock()
	return s.err
}

// Ready reports that the server serves clients: it has started, and does not end.
func (s *Server) Ready() bool { return s.ready.Load() }

// end is Drain, Stop and Fence.
func (s *Server) end(ctx context.Context, m mode) error {
	s.mu.Lock()
	started := s.started
	if !started {
		s.hurry() // from here on Start refuses
	}
	s.mu.Unlock()
	s.ready.Store(false)
	first := false
	s.endOnce.Do(func() {
		first = true
		if !started {
			s.finish(s.listener.Close())
			return
		}
		go s.shut(ctx, m)
	})
	if m == draining && !first { // the drain that is under way may have more time than this one
		patience, cancel := s.patience(ctx)
		defer cancel()
		defer context.AfterFunc(patience, s.hurry)()
		defer context.AfterFunc(ctx, s.giveUp)()
	}
	if m != draining {
		s.hurry()
		defer context.AfterFunc(ctx, s.giveUp)()
		if _, bounded := ctx.Deadline(); !bounded {
			defer time.AfterFunc(s.cfg.FailTimeout, s.giveUp).Stop()
		}
	}
	if m == fencing && started && s.pipeline != nil {
		_ = s.pipeline.Fence(ctx) // its error is the server's, too
	}
	select {
	case <-s.ended:
	case <-ctx.Done():
		select {
		case <-s.ended: // the end goes on a moment after its deadline, to shut sockets
		case <-time.After(s.cfg.FailTimeout):
			return fmt.Errorf("server: not ended in time: %w", ctx.Err())
		}
	}
	return s.Err()
}

// fail ends the server because a component failed. Any goroutine, also one of the component's own.
func (s *Server) fail(err error) {
	s.keep(err)
	s.log.Error("the server fails and ends", "error", err)
	s.ready.Store(false)
	s.hurry()
	time.AfterFunc(s.cfg.FailTimeout, s.giveUp) // a drain that is under way may have no deadline
	s.endOnce.Do(func() {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), s.cfg.FailTimeout)
			defer cancel()
			s.shut(ctx, stopping)
		}()
	})
}

// keep remembers the first error.
func (s *Server) keep(err error) {
	s.errMu.Lock()
	defer s.errMu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// shut takes the server down from the sockets to the disk, once. Every step ends when patience does, so the whole ends
// within ctx's deadline.
func (s *Server) shut(ctx context.Context, m mode) {
	patience, cancel := s.patience(ctx)
	defer cancel()
	s.mu.Lock()
	s.mu.Unlock() //lint:ignore SA2001 waits until Start has returned, or is about to find out
	if m != draining {
		s.sequencer.Stop()
	}
	s.queue.Close() // readers that wait for room go on, and let go of their connections
	s.keepWhen("closing the listener", s.listener.Close())
	select {
	case <-s.sequenced:
	case <-patience.Done():
		s.sequencer.Stop()
		<-s.sequenced
	}
	s.snapshots.Close()
	switch m {
	case draining:
		s.keepWhen("delivering", s.pipeline.Drain(patience))
	case stopping:
		s.keepWhen("stopping", s.pipeline.Stop(ctx))
	case fencing:
		s.keepWhen("fencing", s.pipeline.Fence(ctx))
	}
	s.finish(s.closeJournal(ctx))
}

// patience is ctx without its last moments, which are for ending by force, and ends as soon as somebody hurries.
func (s *Server) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	p, cancel := context.WithCancel(ctx)
	if at, ok := ctx.Deadline(); ok {
		cancel()
		p, cancel = context.WithDeadline(ctx, at.Add(-min(time.Second, time.Until(at)/4)))
	}
	stop := context.AfterFunc(s.hurried, cancel)
	return p, func() { stop(); cancel() }
}

// closeJournal waits until everything sequenced is on disk, then closes the journal. A sync that does not return cannot be
// ended; its goroutine is left behind, and the journal stays locked until it does.
func (s *Server) closeJournal(ctx context.Context) error {
	grace := time.NewTimer(100 * time.Millisecond) // for an end that has no time left: a healthy disk needs less
	defer grace.Stop()
	for _, done := range []<-chan struct{}{s.committed, s.snapshots.Done()} {
		select {
		case <-done:
			continue
		case <-ctx.Done():
		case <-s.gaveUp.Done():
		}
		select {
		case <-done:
		case <-grace.C:
			go func() {
				<-s.committed
				<-s.snapshots.Done()
				_ = s.journal.Close() // nobody is left to hear of it
			}()
			return fmt.Errorf("server: the disk has not answered in time; events up to %d are on it: %w",
				s.persists.Load(), context.DeadlineExceeded)
		}
	}
	return s.journal.Close()
}

func (s *Server) keepWhen(doing string, err error) {
	if err != nil {
		s.keep(fmt.Errorf("server: %s: %w", doing, err))
	}
}

// finish says that the server has ended.
func (s *Server) finish(err error) {
	if err != nil {
		s.keep(err)
	}
	s.hurry()
	close(s.ended)
	if err := s.Err(); err != nil && !errors.Is(err, context.Canceled) {
		s.log.Error("ended", "error", err)
		return
	}
	s.log.Info("ended")
}
