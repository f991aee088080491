package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"sluice/actors"
	"sluice/actors/node"
	"sluice/actors/sequencer"
	"sluice/durability"
	"sluice/durability/raftlog"
	"sluice/encode"
	"sluice/mailbox"
)

// application shortens the type.
type application[R, Q any] = sequencer.Application[R, Q]

// Times of a change of leadership.
const (
	answerFor = 2 * time.Second        // for requests that were taken, before a transfer
	handFor   = 2 * time.Second        // for the handover
	lookFor   = 500 * time.Millisecond // for the next leader after a handover, so that clients can be told
	lostLook  = 100 * time.Millisecond // the same after a leadership was lost: clients look for themselves
	partFor   = time.Second            // for telling clients, after a leadership was lost
	lookEvery = 2 * time.Millisecond
)

// errEnding ends the opening of a period when the member ends.
var errEnding = errors.New("cluster: the member ends")

// period is the time of one node: while this member leads, or while it does not. To those who observe
// and operate a node, it is a node; what ends it ends the member.
type period[R, Q any] struct {
	*node.Node[R, Q]
	member *Node[R, Q]
	lead   *raftlog.Leadership // nil while another node leads, or none
	handed atomic.Bool         // the leadership is being handed over by a drain
}

// follow begins a period in which clients are directed to the leader.
func (m *Node[R, Q]) follow(ctx context.Context) error {
	app, err := m.fresh() // executes nothing
	if err != nil {
		return err
	}
	cursors := durability.NewCursors(raftlog.MaxMembers - 1)
	st := m.raft.Status()
	for _, p := range st.Peers { // nothing waits here, so nothing is missing
		if x, _ := st.Members.Member(p.Node); x.Role.Votes() {
			cursors.Activate(p.Place, 0, 0)
		}
	}
	return m.turn(ctx, nil, m.direct, m.begins, node.Office[R, Q]{Application: app, State: sequencer.NewState(),
		Cursors: cursors, Propose: func(*mailbox.BytesReader) {}, IDs: &m.ids, Directs: true})
}

// turn opens the node of a period and ends the one before. It returns errEnding if the member ends.
func (m *Node[R, Q]) turn(ctx context.Context, lead *raftlog.Leadership,
	direct func() (string, bool), wait func() bool, office node.Office[R, Q]) error {
	p := &period[R, Q]{member: m, lead: lead}
	m.reloads.mu.Lock()
	defer m.reloads.mu.Unlock()
	c := m.cfg.Node
	m.choosePolicy(&c)
	office.Voters = m.voters
	m.reloads.apply(&c.KeysFile, &c.Listen, &c.Pipeline.Limits, &c.EndpointLimits)
	c.Listen.Direct, c.Listen.Wait = direct, wait
	c.BeforeClients = func(n node.Running) error {
		p.Node = n.(*node.Node[R, Q])
		m.watch(p.Collector())
		m.gauges(p.Collector())
		if m.cfg.Node.BeforeClients == nil {
			return nil
		}
		return m.cfg.Node.BeforeClients(p)
	}
	if _, err := node.OpenOffice(ctx, c, office); err != nil {
		if m.ending.has() && ctx.Err() != nil {
			return errEnding // the end of the member has ended the opening
		}
		return err
	}
	old, ok := m.ending.turn(func() any { return m.now.Swap(p) })
	if !ok {
		stopNow(p.Node)
		return errEnding
	}
	if old := old.(*period[R, Q]); old != nil && old.lead == nil { // else lead ends it
		m.wg.Go(func() { stopNow(old.Node) }) // it has few clients or none, and they are told where to go
	}
	if lead != nil {
		p.Node.Announce() // not before: an operator who has read it may ask the leader at once
	} else {
		m.log.Info("following; clients are directed to the leader", "node", m.members.Node, "addresses", p.Addresses())
	}
	return nil
}

// stopNow ends a node. Its error is logged by the node.
func stopNow(n interface{ Stop(context.Context) error }) {
	ctx, cancel := context.WithTimeout(context.Background(), partFor)
	defer cancel()
	_ = n.Stop(ctx)
}

// begins reports that this member was elected, and the server of its office is about to open. Clients
// that come meanwhile wait for it; they could only be told that no leader serves yet.
func (m *Node[R, Q]) begins() bool {
	return m.raft.Status().Leader == m.id && !m.ending.has()
}

// direct says where clients are sent: to the leader, or nowhere while none is known.
func (m *Node[R, Q]) direct() (address string, direct bool) {
	address, _ = m.leader()
	return address, true
}

// leader is the address for clients of another node that leads; false if none is known.
func (m *Node[R, Q]) leader() (address string, ok bool) {
	st := m.raft.Status()
	if st.Leader == 0 || st.Leader == m.id {
		return "", false
	}
	x, ok := m.table.load().byID(st.Leader)
	return x.Client, ok
}

// serve is the period of a leadership. It returns when the leadership has ended and the state is back.
func (m *Node[R, Q]) serve(l *raftlog.Leadership) error {
	app, state, err := m.machine.lend(l)
	if err != nil {
		return err
	}
	if p, ok := state.Policy(); ok && m.cfg.Node.Policy != "" && p.String() != m.cfg.Node.Policy {
		m.log.Info("the policy of the log is in force, not the configured one", "policy", p.String(), "configured",
			m.cfg.Node.Policy)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-l.Ended():
			cancel()
		case <-ctx.Done():
		}
	}()
	err = m.turn(ctx, l, func() (string, bool) {
		select {
		case <-l.Ended():
			return m.direct()
		default:
			return "", false
		}
	}, nil, node.Office[R, Q]{Application: app, State: state, Cursors: l.Cursors, IDs: &m.ids,
		Prove: l.Prove, Poisoned: maps.Clone(m.poisoned),
		Propose:   func(events *mailbox.BytesReader) { m.propose(l, events) },
		AnswerFor: answerFor, Confirmed: l.Confirmed,
		HandOver: func(ctx context.Context) (actors.Farewell, bool) { return m.handOver(ctx, l) }})
	whole := false
	switch {
	case err == nil:
		whole, err = m.lead(l)
		m.machine.back(whole)
		return err
	case errors.Is(err, errEnding), ctx.Err() != nil: // the leadership has ended meanwhile
	default:
		m.log.Error("serving as the leader failed", "error", err)
		m.giveUp(l, err)
	}
	m.machine.back(whole)
	return nil
}

// lead waits for the end of a leadership that serves, and ends its node. If the leadership was lost or handed over,
// the next period begins before: clients that come meanwhile are directed by it, and do not wait for that end. It
// reports whether the state is whole.
func (m *Node[R, Q]) lead(l *raftlog.Leadership) (whole bool, err error) {
	p := m.now.Load()
	select {
	case <-l.Ended():
		if !m.ending.has() {
			err = m.follow(m.ending.ctx)
		}
		if f, ok := m.farewell(context.Background(), lostLook); ok {
			if err := p.Node.SetFarewell(f); err != nil {
				m.log.Error("clients are not told where to go", "error", err)
			}
		}
		if !p.handed.Load() { // else its drain goes on: everything was answered before
			stopNow(p.Node)
		}
		select {
		case <-p.Node.Ended():
		case <-m.ending.closing:
			stopNow(p.Node)
		}
	case <-p.Node.Ended(): // it failed, or was drained
		if !m.ending.has() {
			m.giveUp(l, p.Node.Err())
		}
	}
	m.poison(p.Node.Err())
	return p.Node.Whole(), err
}

// poisonedMost bounds the requests that are remembered as poisoned.
const poisonedMost = 1024

// poison remembers the request on which the application panicked, if that ended the node: a client that
// sends it again must not end the next leadership as well.
func (m *Node[R, Q]) poison(err error) {
	var p *sequencer.PanicError
	if !errors.As(err, &p) || p.Hash == 0 || len(m.poisoned) >= poisonedMost || m.voters() == 1 {
		return
	}
	m.log.Error("the application panicked on a request, which is refused from now on", "event", uint64(p.Seq),
		"tag", p.Tag, "connection", p.Conn)
	m.poisoned[p.Hash] = struct{}{}
}

// giveUp hands a leadership over that cannot serve, because of an error, and returns when it has ended. The
// only member with a vote ends, as a node of its own does.
func (m *Node[R, Q]) giveUp(l *raftlog.Leadership, why error) {
	if m.voters() == 1 {
		m.fail(fmt.Errorf("cluster: this node leads in term %d and cannot serve, and no other member has "+
			"a vote: %w", l.Term, why))
		return
	}
	again := time.NewTicker(handFor)
	defer again.Stop()
	for {
		m.raft.Transfer(0)
		select {
		case <-l.Ended():
			return
		case <-m.ending.closing:
			return
		case <-again.C:
		}
	}
}

// handOver hands the leadership to another node: the one that Transfer named, or the fittest. It returns
// the farewell that sends clients there.
func (m *Node[R, Q]) handOver(ctx context.Context, l *raftlog.Leadership) (f actors.Farewell, ok bool) {
	if m.voters() == 1 {
		return f, false // there is no other node
	}
	ctx, cancel := context.WithTimeout(ctx, handFor)
	defer cancel()
	m.now.Load().handed.Store(true)
	m.raft.Transfer(m.heir.Swap(0))
	select {
	case <-l.Ended():
		return m.farewell(ctx, lookFor)
	case <-ctx.Done():
		m.log.Warn("no other node has taken the leadership", "term", l.Term)
		return f, false
	}
}

// farewell sends clients to the next leader, as soon as one is known; false if none is in time.
func (m *Node[R, Q]) farewell(ctx context.Context, within time.Duration) (f actors.Farewell, ok bool) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	limit := time.NewTimer(within)
	defer limit.Stop()
	for {
		if address, ok := m.leader(); ok {
			return actors.Farewell{Reason: encode.CloseElsewhere, Address: address}, true
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return f, false
		case <-limit.C:
			return f, false
		}
	}
}

// propose connects the events of a leadership with the log.
func (m *Node[R, Q]) propose(l *raftlog.Leadership, events *mailbox.BytesReader) {
	events.SetSignal(m.signal)
	l.Propose(events)
}
