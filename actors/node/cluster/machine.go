package cluster

import (
	"fmt"
	"io"
	"iter"
	"sync/atomic"

	"sluice/actors/sequencer"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/durability/raftlog"
	"sluice/encode"
)

// history is what the log has from its newest snapshot on. That may include events which the machine has
// not taken yet, if it was received: the feed then still has entries that the snapshot includes.
type history interface {
	// Newest calls read with the newest snapshot, unless there is none.
	Newest(read func(*raftlog.Meta, io.Reader) error) error
	// Committed iterates over the events after a snapshot, up to event `to`.
	Committed(after raftlog.Meta, to durability.Seq) iter.Seq2[journal.Event, error]
}

// machine is the application and what its sequencer remembers. It follows the log while another node
// leads, is lent to the server of a leadership of this node, and goes on from there when that ends.
//
//	follow --lend--> the leadership's server executes events, ahead of the log
//	   ^                  |
//	   |                back: it has ended; which of its events are in the log is not known yet
//	   |                  v
//	   +--- settle: the first entry of another term says which ones. If all are, the state goes on as it
//	        is, else it is rebuilt from snapshot and log.
//
// One goroutine uses it.
type machine[R, Q any] struct {
	fresh   func() (sequencer.Application[R, Q], error) // makes an empty application
	encoder encode.Encoder[R, Q]
	log     history
	pace    func() error // called again and again while the state is rebuilt

	follower *sequencer.Follower[R, Q] // nil while the state is lent, or was not settled since
	lent     *loan[R, Q]               // of the last leadership, until it is settled
	included durability.Seq            // last event of the state when it was rebuilt
	rebuilds atomic.Uint64             // any goroutine reads it

	policy atomic.Pointer[durability.Policy] // that of the log where this node follows it; any goroutine reads it
}

// loan is a state that a leadership has, or had.
type loan[R, Q any] struct {
	to        *raftlog.Leadership
	app       sequencer.Application[R, Q]
	state     *sequencer.State
	returned  bool
	whole     bool           // it stands between two events
	confirmed durability.Seq // last event of the leadership that the feed has shown to be in the log
}

// newMachine makes the machine of a node that starts: the state of the newest snapshot.
func newMachine[R, Q any](fresh func() (sequencer.Application[R, Q], error), encoder encode.Encoder[R, Q],
	log history) (*machine[R, Q], error) {
	m := &machine[R, Q]{fresh: fresh, encoder: encoder, log: log, pace: func() error { return nil }}
	return m, m.rebuild(0)
}

// last is the last event applied; while the state is lent, the last one before that.
func (m *machine[R, Q]) last() durability.Seq {
	if m.lent != nil {
		return max(m.lent.to.Last, m.lent.confirmed)
	}
	return m.follower.Last()
}

// take takes an item of the feed that is not a leadership. An error means that this node must not go
// on: its state is not that of the log.
func (m *machine[R, Q]) take(item raftlog.Item) error {
	switch {
	case item.Err != nil:
		return item.Err
	case item.Restore != nil:
		m.lent = nil
		return m.rebuild(item.Restore.Seq)
	case m.lent != nil && item.Term == m.lent.to.Term: // this node executed it when it was numbered
		if item.Batch.Count > 0 {
			m.lent.confirmed = item.Batch.Last()
		}
		return nil
	}
	if err := m.settle(); err != nil {
		return err
	}
	for seq, payload := range item.Batch.Events() {
		if seq <= m.included {
			continue
		}
		if err := m.follower.Apply(journal.Event{Seq: seq, Payload: payload}); err != nil {
			return err
		}
	}
	m.note()
	return nil
}

// note publishes the policy of the log.
func (m *machine[R, Q]) note() {
	p, ok := m.follower.Policy()
	if old := m.policy.Load(); ok && (old == nil || *old != p) {
		m.policy.Store(&p)
	}
}

// lend gives the state to the server of a leadership, whose last event before it has been applied.
func (m *machine[R, Q]) lend(to *raftlog.Leadership) (sequencer.Application[R, Q], *sequencer.State, error) {
	if m.lent != nil {
		panic(fmt.Sprintf("cluster: the state is lent to the leadership of term %d, and wanted for term %d",
			m.lent.to.Term, to.Term))
	}
	if at := m.follower.Last(); at != to.Last {
		return nil, nil, fmt.Errorf("cluster: this node leads from event %d on, its state is that of event %d",
			to.Last+1, at)
	}
	app, state, err := m.follower.Lend()
	if err != nil {
		return nil, nil, err
	}
	m.follower, m.lent = nil, &loan[R, Q]{to: to, app: app, state: state}
	return app, state, nil
}

// back takes the state back when the leadership's server has ended. whole says that the state stands
// between two events: the application has not panicked, and nothing executes it any more.
func (m *machine[R, Q]) back(whole bool) { m.lent.returned, m.lent.whole = true, whole }

// settle finds out what became of the events of the last leadership: an entry of another term was
// handed out, so no more of them will come.
func (m *machine[R, Q]) settle() error {
	l := m.lent
	if l == nil {
		return nil
	}
	if !l.returned {
		panic(fmt.Sprintf("cluster: the leadership of term %d has not returned the state", l.to.Term))
	}
	m.lent = nil
	inLog := max(l.confirmed, l.to.Confirmed())
	if l.whole && l.state.Last() == inLog {
		m.follower = sequencer.Following(l.app, m.encoder, l.state)
		return nil
	}
	m.rebuilds.Add(1)
	return m.rebuild(inLog)
}

// rebuild makes the state after event `to` from the newest snapshot and the log; that of the snapshot
// if it includes the event.
func (m *machine[R, Q]) rebuild(to durability.Seq) (err error) {
	if m.follower, err = replayed(m.fresh, m.encoder, m.log, to, m.pace); err == nil {
		m.included = m.follower.Last()
		m.note()
	}
	return err
}

// replayed makes a follower at event `to` from the newest snapshot and the log; at that of the snapshot
// if it includes the event. pace is called again and again meanwhile, and ends it by an error.
func replayed[R, Q any](fresh func() (sequencer.Application[R, Q], error), encoder encode.Encoder[R, Q],
	log history, to durability.Seq, pace func() error) (*sequencer.Follower[R, Q], error) {
	app, err := fresh()
	if err != nil {
		return nil, err
	}
	f := sequencer.NewFollower(app, encoder)
	var from raftlog.Meta
	if err := log.Newest(func(meta *raftlog.Meta, r io.Reader) error {
		from = *meta
		return f.Restore(pacedReader{r, pace})
	}); err != nil {
		return nil, fmt.Errorf("cluster: restoring the newest snapshot: %w", err)
	}
	if f.Last() != from.Seq {
		return nil, fmt.Errorf("cluster: the newest snapshot says that it is of event %d, its state is of event %d",
			from.Seq, f.Last())
	}
	if to <= from.Seq {
		return f, nil
	}
	for ev, err := range log.Committed(from, to) {
		if err == nil && ev.Seq%paceEvents == 0 {
			err = pace()
		}
		if err == nil {
			err = f.Apply(ev)
		}
		if err != nil {
			return nil, fmt.Errorf("cluster: replaying the log up to event %d: %w", to, err)
		}
	}
	if f.Last() != to {
		return nil, fmt.Errorf("cluster: the log leads to event %d instead of %d", f.Last(), to)
	}
	return f, nil
}

// paceEvents is the number of events between two calls of pace.
const paceEvents = 16
