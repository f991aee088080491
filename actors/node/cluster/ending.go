package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sluice/actors/node"
)

// ending is the state of a member's end. Any goroutine.
type ending struct {
	ready   atomic.Bool
	leaving atomic.Bool
	once    sync.Once
	ctx     context.Context // ends when the log is closed
	cancel  context.CancelFunc
	closing <-chan struct{} // of ctx
	ended   chan struct{}

	mu    sync.Mutex // guards begun and err, and orders turns and the beginning of the end
	begun bool
	err   error
}

func newEnding() *ending {
	e := &ending{ended: make(chan struct{})}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.closing = e.ctx.Done()
	return e
}

// turn calls swap unless the end has begun.
func (e *ending) turn(swap func() any) (old any, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.begun {
		return nil, false
	}
	return swap(), true
}

// begin begins the end: no period begins from now on.
func (e *ending) begin() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begun = true
	e.ready.Store(false)
}

// has reports whether the end has begun.
func (e *ending) has() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.begun
}

// keep remembers the first error.
func (e *ending) keep(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		e.err = err
	}
}

func (e *ending) first() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// Drain ends the member in order. A leader answers what it took, hands its leadership over, and sends its
// clients to the next leader. See node.Node.Drain for ctx and the error. Unlike there, an end whose ctx has no
// deadline has one of Config.Node.DrainTimeout.
func (m *Node[R, Q]) Drain(ctx context.Context) error {
	return m.end(ctx, func(n *node.Node[R, Q], ctx context.Context) error { return n.Drain(ctx) })
}

// Stop ends the member now. A leader's clients are told the next leader only if it is known by then.
func (m *Node[R, Q]) Stop(ctx context.Context) error {
	return m.end(ctx, func(n *node.Node[R, Q], ctx context.Context) error { return n.Stop(ctx) })
}

// Fence ends the member without sending another byte to a client.
func (m *Node[R, Q]) Fence(ctx context.Context) error {
	return m.end(ctx, func(n *node.Node[R, Q], ctx context.Context) error { return n.Fence(ctx) })
}

// end ends the node of the present period by how, then the member. A second end that is under way is
// joined, and ends the node by its own way.
func (m *Node[R, Q]) end(ctx context.Context, how func(*node.Node[R, Q], context.Context) error) error {
	e := m.ending
	e.begin()
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	first := false
	e.once.Do(func() {
		first = true
		go func() {
			if p := m.now.Load(); p != nil {
				if err := how(p.Node, ctx); err != nil {
					e.keep(err)
				}
			}
			m.close(ctx)
			m.reportEnd()
			close(e.ended)
		}()
	})
	if p := m.now.Load(); !first && p != nil {
		go func() { _ = how(p.Node, ctx) }() // the first one has the result
	}
	select {
	case <-e.ended:
		return e.first()
	case <-ctx.Done():
	}
	select {
	case <-e.ended: // a moment after the deadline
		return e.first()
	case <-time.After(m.cfg.Node.FailTimeout):
		return fmt.Errorf("cluster: not ended in time: %w", ctx.Err())
	}
}

// reportEnd logs the end, unless it had an error: fail, or the node of the period, has logged that.
func (m *Node[R, Q]) reportEnd() {
	if m.ending.first() != nil {
		return
	}
	if err := m.Left(); err != nil {
		m.log.Warn("ended for good", "reason", err)
		return
	}
	m.log.Info("ended")
}

// bounded gives a context a deadline.
func (m *Node[R, Q]) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, m.cfg.Node.DrainTimeout)
}

// fail ends the member because a part of it failed. Any goroutine.
func (m *Node[R, Q]) fail(err error) {
	if m.ending.has() {
		m.ending.keep(err)
		return
	}
	m.ending.keep(err)
	m.log.Error("member of the cluster failed; shutting down", "error", err)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), m.cfg.Node.FailTimeout)
		defer cancel()
		_ = m.Stop(ctx) // Err has the error
	}()
}

// close ends the log and everything below it. What does not return in time is left behind.
func (m *Node[R, Q]) close(ctx context.Context) {
	e := m.ending
	e.begin()
	steps := make(chan error, 1)
	go func() { steps <- m.closeLog() }()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.cfg.Node.FailTimeout)
	defer cancel()
	select {
	case err := <-steps:
		if err != nil {
			e.keep(err)
		}
	case <-grace.Done():
		e.keep(errors.New("cluster: the disk or the application has not returned in time"))
	}
	if m.links != nil {
		_ = m.links.Close() // a socket that was closed already
	}
	if m.bulk != nil {
		m.bulk.Close()
	}
	if m.release != nil {
		m.release()
	}
}

// closeLog ends the goroutines of log and store, and closes the journal.
func (m *Node[R, Q]) closeLog() error {
	m.stop.Store(true)
	if m.runner != nil {
		m.runner.Wake()
		_ = m.runner.Wait() // fail has the error
	}
	m.ending.cancel()
	if m.store != nil {
		m.store.Close()
	}
	m.wg.Wait()
	if m.journal == nil {
		return nil
	}
	return m.journal.Close()
}
