package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/durability"
	"sluice/durability/raftlog"
)

// execute is the goroutine that owns the state machine: it follows the log, and serves the leaderships
// of this node.
func (m *Node[R, Q]) execute() {
	err := m.executeAll()
	if err != nil && !errors.Is(err, errEnding) {
		m.fail(fmt.Errorf("cluster: this node does not go on: %w", err))
	}
}

func (m *Node[R, Q]) executeAll() error {
	feed := m.raft.Feed()
	for {
		items, err := feed.Take()
		if err != nil {
			return nil // the log has ended
		}
		for _, item := range items {
			m.beats.executor.Begin()
			if err := m.item(item); err != nil {
				return err
			}
		}
		m.beats.executor.End()
		if len(items) > 0 {
			continue
		}
		if err := feed.Wait(m.ending.ctx); err != nil {
			return nil
		}
	}
}

// item takes one item of the feed.
func (m *Node[R, Q]) item(item raftlog.Item) error {
	l := item.Lead
	if l == nil {
		err := m.machine.take(item)
		m.taken.Store(uint64(m.machine.last()))
		m.raft.Applied(item.Index)
		return err
	}
	select {
	case <-l.Ended():
		return nil // before it began to serve
	default:
	}
	m.leading.Store(l)
	m.beats.executor.End() // another goroutine executes
	err := m.serve(l)
	m.leading.Store(nil)
	if err != nil || m.ending.has() {
		return err
	}
	if m.now.Load().lead == nil {
		return nil // the next one has begun, or the leadership did not come to serve, and the one before goes on
	}
	return m.follow(m.ending.ctx)
}

const (
	snapshotEvery = 250 * time.Millisecond // between two looks whether a snapshot is due
	// A copy of the application takes turns with the one that serves clients.
	copyWork = time.Millisecond
	copyRest = time.Millisecond
)

// snapshots is the goroutine that makes snapshots, on a copy of the application, so that the log stays
// short.
func (m *Node[R, Q]) snapshots() {
	tick := time.NewTicker(snapshotEvery)
	defer tick.Stop()
	last, bytes := m.raft.Status().Snapshot, m.raft.Status().Logged
	for {
		select {
		case <-m.ending.ctx.Done():
			return
		case <-tick.C:
		}
		at, st := m.settled(), m.raft.Status()
		if last = max(last, st.Snapshot); at < last || at == last && !st.SnapshotWanted {
			continue
		}
		if !st.SnapshotWanted && uint64(at-last) < m.cfg.Node.SnapshotEvents && st.Logged-bytes < m.cfg.Node.SnapshotBytes {
			continue
		}
		bytes = st.Logged
		began := time.Now()
		m.beats.snapshot.Begin()
		err := m.snapshot(m.ending.ctx, at)
		m.beats.snapshot.End()
		if m.ending.ctx.Err() != nil {
			return
		}
		if errors.Is(err, raftlog.ErrHasSnapshot) { // it was received a moment ago
			last = at
			continue
		}
		switch m.figures.ended(at, began, err) {
		case 0:
			last = at
		case 1:
			m.log.Error("snapshot failed; the log keeps growing until one succeeds", "event", uint64(at), "error", err)
		}
	}
}

// settled is the last event that is in the log for good, and that the state machine has taken.
func (m *Node[R, Q]) settled() durability.Seq {
	if l := m.leading.Load(); l != nil {
		return l.Confirmed()
	}
	return durability.Seq(m.taken.Load())
}

// snapshot makes the snapshot after an event on a copy of the application.
func (m *Node[R, Q]) snapshot(ctx context.Context, at durability.Seq) error {
	since := time.Now()
	f, err := replayed(m.fresh, m.cfg.Node.Encoder, past{m.store, m.raft}, at, func() error {
		if time.Since(since) >= copyWork {
			time.Sleep(copyRest) // clients may need the processor
			since = time.Now()
		}
		return context.Cause(ctx)
	})
	if err != nil {
		return err
	}
	return m.raft.Snapshot(ctx, m.store, at, f.WriteSnapshot)
}
