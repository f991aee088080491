package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// mode is how the node ends.
type mode uint8

const (
	draining mode = iota // what was accepted is sequenced, journaled and answered
	stopping             // what is on disk is answered if the sockets take it at once
	fencing              // not another byte leaves
)

// ending is the state of a node's end. Any goroutine.
type ending struct {
	ready   atomic.Bool // clients are served; written by Open and the end
	leaving atomic.Bool // the end was announced; written by Leave
	opened  chan struct{}
	once    sync.Once          // begins the end
	hurry   context.CancelFunc // turns a drain into a stop
	hurried context.Context
	giveUp  context.CancelFunc // ends the wait for the application, the pipeline and the disk
	gaveUp  context.Context
	ended   chan struct{}
	mu      sync.Mutex // guards err
	err     error      // first failure; the result of the end
}

func newEnding() *ending {
	e := &ending{opened: make(chan struct{}), ended: make(chan struct{})}
	e.hurried, e.hurry = context.WithCancel(context.Background())
	e.gaveUp, e.giveUp = context.WithCancel(context.Background())
	return e
}

// keep remembers the first error.
func (e *ending) keep(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		e.err = err
	}
}

func (e *ending) keepWhen(doing string, err error) {
	if err != nil {
		e.keep(fmt.Errorf("node: %s: %w", doing, err))
	}
}

func (e *ending) first() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// finish closes ended. It is called once.
func (e *ending) finish(err error) {
	if err != nil {
		e.keep(err)
	}
	e.hurry()
	e.giveUp()
	close(e.ended)
}

// patience is ctx without its last moments, which are for ending by force. It ends early when the
// end is hurried.
func (e *ending) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	p, cancel := context.WithCancel(ctx)
	if at, ok := ctx.Deadline(); ok {
		cancel()
		p, cancel = context.WithDeadline(ctx, at.Add(-min(time.Second, time.Until(at)/4)))
	}
	stop := context.AfterFunc(e.hurried, cancel)
	return p, func() { stop(); cancel() }
}

// Drain ends the node in order: it stops accepting, carries out the requests it took, commits and
// answers them, and closes the connections. When ctx ends first, what is left is dropped, and the
// error says so. It returns within ctx's deadline, or soon after its cancellation, also if the
// application, the encoder or the disk does not return; what did not return is left behind.
func (n *Node[R, Q]) Drain(ctx context.Context) error { return n.end(ctx, draining) }

// Stop ends the node now: requests that were not carried out yet are dropped, released outputs are
// sent if the sockets take them at once. It ends a Drain that is under way. A context without a
// deadline gets one of FailTimeout.
func (n *Node[R, Q]) Stop(ctx context.Context) error { return n.end(ctx, stopping) }

// Fence ends the node without sending another byte, because another node took over (R15).
func (n *Node[R, Q]) Fence(ctx context.Context) error { return n.end(ctx, fencing) }

// Ended is closed when the node has ended, for whatever reason.
func (n *Node[R, Q]) Ended() <-chan struct{} { return n.ending.ended }

// Err says why the node ended: nil while it runs, and after an orderly end with everything answered.
// It does not wait; Wait does.
func (n *Node[R, Q]) Err() error {
	select {
	case <-n.ending.ended:
		return n.ending.first()
	default:
		return nil
	}
}

// Ready reports that the node serves clients: it does not end.
func (n *Node[R, Q]) Ready() bool { return n.ending.ready.Load() }

// Full is how long no requests have been taken because the queue of requests is full; 0 while it has
// room. Connections are accepted, and operators' commands carried out, meanwhile.
func (n *Node[R, Q]) Full() time.Duration {
	since := n.queue.Full()
	if since == 0 {
		return 0
	}
	return max(1, time.Duration(n.pipeline.Now()-since))
}

// Leave announces the end of a node that is served until Drain is called: its readiness endpoint says
// from now on that it is not ready, so that a balancer sends new clients elsewhere before any is
// rejected. It cannot be undone.
func (n *Node[R, Q]) Leave() { n.ending.leaving.Store(true) }

// Leaving reports that Leave was called.
func (n *Node[R, Q]) Leaving() bool { return n.ending.leaving.Load() }

// end is Drain, Stop and Fence.
func (n *Node[R, Q]) end(ctx context.Context, m mode) error {
	e := n.ending
	e.ready.Store(false)
	if _, bounded := ctx.Deadline(); !bounded && m != draining {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, n.cfg.FailTimeout)
		defer cancel()
	}
	first := false
	e.once.Do(func() {
		first = true
		go n.shut(ctx, m)
	})
	if m == draining && !first { // the drain that is under way may have more time than this one
		patience, cancel := e.patience(ctx)
		defer cancel()
		defer context.AfterFunc(patience, e.hurry)()
		defer context.AfterFunc(ctx, e.giveUp)()
	}
	if m != draining {
		e.hurry()
		defer context.AfterFunc(ctx, e.giveUp)()
	}
	if m == fencing {
		n.listener.Mute()
		_ = n.pipeline.Fence(ctx) // its error becomes the node's in shut
	}
	select {
	case <-e.ended:
	case <-ctx.Done():
		select {
		case <-e.ended: // the end goes on a moment after its deadline, to shut sockets
		case <-time.After(n.cfg.FailTimeout):
			return fmt.Errorf("node: not ended in time: %w", ctx.Err())
		}
	}
	return n.Err()
}

// fail ends the node because a component failed. Any goroutine, including the component's own.
func (n *Node[R, Q]) fail(err error) {
	e := n.ending
	e.keep(err)
	n.log.Error("server failed; shutting down", "error", err)
	e.ready.Store(false)
	e.hurry()
	time.AfterFunc(n.cfg.FailTimeout, e.giveUp) // a drain that is under way may have no deadline
	e.once.Do(func() {
		go func() {
			select {
			case <-e.opened:
			case <-e.ended: // Open gave up, and released everything
				return
			}
			ctx, cancel := context.WithTimeout(context.Background(), n.cfg.FailTimeout)
			defer cancel()
			n.shut(ctx, stopping)
		}()
	})
}

// shut takes the node down from the sockets to the disk, once. Every step ends soon after ctx does,
// or the time of a later end is up, even if the application does not return; what it holds is then
// released when it returns.
func (n *Node[R, Q]) shut(ctx context.Context, m mode) {
	e, began := n.ending, time.Now()
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	defer context.AfterFunc(e.gaveUp, giveUp)()
	patience, cancel := e.patience(ctx)
	defer cancel()
	late, cancelLate := late(ctx)
	defer cancelLate()
	if m != draining {
		n.sequencer.Stop()
	}
	n.queue.Refuse() // readers that wait for room go on, and release their connections
	e.keepWhen("closing the listener", n.closeListener(late))
	n.queue.Close() // all connections have ended
	e.keepWhen("the application has not returned", n.joinSequencer(patience, late))
	switch m {
	case draining:
		_ = n.operators.join(patience) // so that their answers are delivered; joined again below
		n.handOver(patience)
		e.keepWhen("delivering", n.pipeline.Drain(patience))
		if n.store != nil {
			part, cancel := quarter(patience, ctx, began)
			n.lastSnapshot(part)
			cancel()
		}
	case stopping:
		e.keepWhen("stopping", n.pipeline.Stop(ctx))
	case fencing:
		e.keepWhen("fencing", n.pipeline.Fence(ctx))
	}
	if n.store != nil {
		if err := n.store.close(ctx, n.snapshots.Done()); err != nil {
			e.keep(err)
		}
	}
	e.hurry() // ends the context of commands
	if err := n.operators.join(ctx); err != nil {
		e.keep(err)
	}
	n.lines.flush(n.log)
	n.audit.flush()
	n.logEnd(e.first())
	e.finish(nil)
}

// quarter is patience, but ends after a quarter of the time that ctx had when it began.
func quarter(patience, ctx context.Context, began time.Time) (context.Context, context.CancelFunc) {
	if at, bounded := ctx.Deadline(); bounded {
		return context.WithTimeout(patience, at.Sub(began)/4)
	}
	return context.WithCancel(patience)
}

// returnGrace is for an end that has no time left: what is under way in a node whose components all
// return needs less.
const returnGrace = time.Second

// late is ctx, but does not end before returnGrace has passed.
func late(ctx context.Context) (context.Context, context.CancelFunc) {
	l, cancel := context.WithCancel(context.WithoutCancel(ctx))
	grace := time.AfterFunc(returnGrace, func() { context.AfterFunc(ctx, cancel) })
	return l, func() { grace.Stop(); cancel() }
}

// closeListener returns an error if a reader has not returned from the pipeline when ctx ends.
func (n *Node[R, Q]) closeListener(ctx context.Context) error {
	closed := make(chan error, 1)
	go func() { closed <- n.listener.Close() }()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return context.DeadlineExceeded
	}
}

// joinSequencer waits until the sequencer has ended, and stops it when patience ends. It returns an
// error if ctx ends first; the snapshots then end after the sequencer.
func (n *Node[R, Q]) joinSequencer(patience, ctx context.Context) error {
	select {
	case <-n.sequenced:
		n.endSnapshots()
		return nil
	case <-patience.Done():
		n.sequencer.Stop()
	}
	select {
	case <-n.sequenced:
		n.endSnapshots()
		return nil
	case <-ctx.Done():
		go func() { <-n.sequenced; n.endSnapshots() }()
		return context.DeadlineExceeded
	}
}

// endSnapshots has no more snapshots made.
func (n *Node[R, Q]) endSnapshots() {
	if n.snapshots != nil {
		n.snapshots.Close()
	}
}

func (n *Node[R, Q]) logEnd(err error) {
	level, attrs := slog.LevelInfo, []any(nil)
	if n.office != nil { // its owner goes on, or says so
		level = slog.LevelDebug
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		level, attrs = slog.LevelError, []any{"error", err}
	}
	n.log.Log(context.Background(), level, "ended", attrs...)
}
