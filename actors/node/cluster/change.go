package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sluice/actors/node"
	"sluice/durability"
	"sluice/durability/raftlog"
)

// Times of learners.
const (
	learnersLook = 100 * time.Millisecond // between two looks at them
	caughtUpFor  = time.Second            // then a learner is promoted
	changeFor    = 10 * time.Second       // limit of a change that this node makes by itself
)

// changes is what a leader needs for changes of the membership.
type changes struct {
	one    sync.Mutex    // held by the one under way
	lately atomic.Uint64 // last event on the leader's disk one or two looks ago
}

// situation is that of this node, which leads.
func (m *Node[R, Q]) situation(p *period[R, Q], st *raftlog.Status, force bool) *situation {
	s := newSituation(m.table.load(), m.id, st, m.clock.Now(), m.election(), durability.Seq(m.changes.lately.Load()))
	s.policy, s.force = p.Policy().Current(), force
	return s
}

// newSituation is that of a leader by the status of its log. lately is what its disk had one or two looks ago.
func newSituation(t *table, self uint64, st *raftlog.Status, now int64, election time.Duration,
	lately durability.Seq) *situation {
	find := func(id uint64) (x raftlog.PeerStatus) {
		for _, y := range st.Peers {
			if y.Node == id {
				return y
			}
		}
		return x
	}
	return &situation{table: t, self: self,
		alive: func(id uint64) bool {
			at := find(id).HeardAt
			return id == self || at != 0 && time.Duration(now-at) <= 2*election
		},
		near: func(id uint64) bool {
			x := find(id)
			return x.State == "replicate" && x.Match >= lately
		}}
}

// Change changes the membership, and returns when the log has the change. The error says why it is not
// possible, or not known to be in the log.
func (m *Node[R, Q]) Change(ctx context.Context, c node.MemberChange) (done node.MemberChanged, err error) {
	st, p := m.raft.Status(), m.now.Load()
	if !st.Leads || p == nil || p.lead == nil {
		return done, errors.New("cluster: " + m.notLeading(uint8(st.Leader)))
	}
	if !m.changes.one.TryLock() {
		return done, raftlog.ErrChanging
	}
	defer m.changes.one.Unlock()
	s := m.situation(p, &st, c.Force)
	plan, err := s.of(&c)
	if err != nil {
		return done, err
	}
	if err := m.carryOut(ctx, p, &plan); err != nil {
		return done, err
	}
	t := m.table.load()
	done.Done = fmt.Sprintf("the members are changed; there are %d, and %d of them vote", len(t.rows), t.Voters())
	if plan.id != 0 {
		of := Membership{Cluster: m.members.Cluster, Node: uint8(plan.id), Generation: raftlog.Generation(plan.id),
			Joined: true, Members: m.members.Members}
		r, _ := t.byID(plan.id)
		done.Ticket, done.Client = ticket(&of, t), r.Client
	}
	return done, nil
}

// carryOut carries a plan out.
func (m *Node[R, Q]) carryOut(ctx context.Context, p *period[R, Q], plan *plan) error {
	if plan.before.Len() > 0 {
		if err := m.adopt(ctx, p, plan.before); err != nil {
			return err
		}
	}
	if err := m.raft.Change(ctx, plan.Change); err != nil {
		return err
	}
	if plan.after.Len() > 0 {
		if err := m.adopt(ctx, p, plan.after); err != nil {
			m.log.Warn("the policy still asks for a majority of more voters; put another one in force", "use",
				plan.after.String(), "error", err)
		}
	}
	return nil
}

// adopt puts the policy of a majority in force.
func (m *Node[R, Q]) adopt(ctx context.Context, p *period[R, Q], policy durability.Policy) error {
	m.log.Info("the policy follows the number of voters", "policy", policy.String())
	return p.Node.AdoptPolicy(ctx, policy)
}

// learners is the goroutine that promotes learners which have caught up.
func (m *Node[R, Q]) learners() {
	tick := time.NewTicker(learnersLook)
	defer tick.Stop()
	var k caughtUp
	var before durability.Seq
	for {
		select {
		case <-m.ending.closing:
			return
		case <-tick.C:
		}
		st, p := m.raft.Status(), m.now.Load()
		m.changes.lately.Store(uint64(before))
		before = st.Stored
		if !st.Leads || p == nil || p.lead == nil || !m.changes.one.TryLock() {
			continue
		}
		m.promoteCaughtUp(p, &st, &k)
		m.changes.one.Unlock()
	}
}

// promoteCaughtUp promotes the learners that have caught up.
func (m *Node[R, Q]) promoteCaughtUp(p *period[R, Q], st *raftlog.Status, k *caughtUp) {
	ctx, cancel := context.WithTimeout(m.ending.ctx, changeFor)
	defer cancel()
	s := m.situation(p, st, false)
	who := k.look(time.Now(), s)
	if len(who) == 0 { // else more voters may meet the policy
		if policy, lags := s.fitting(); lags {
			_ = m.adopt(ctx, p, policy) // it is tried again
		}
		return
	}
	plan, err := s.promote(who, 0)
	if err == nil {
		err = m.carryOut(ctx, p, &plan)
	}
	switch {
	case err == nil:
		m.log.Info("learner promoted: it has caught up", "nodes", fmt.Sprint(who), "voters", m.voters())
	case k.mayLog(time.Now()):
		m.log.Warn("learner not promoted", "nodes", fmt.Sprint(who), "error", err)
	}
}

// caughtUp finds the learners that have been near the end of the log for long enough. One goroutine uses it.
type caughtUp struct {
	since  map[uint64]time.Time
	logged time.Time
}

// look returns the numbers of the learners to be promoted: one, or two if there is one voter.
func (k *caughtUp) look(now time.Time, s *situation) (who []uint8) {
	since := make(map[uint64]time.Time)
	for _, r := range s.rows {
		if r.role != raftlog.Learner || r.stays || !s.alive(r.id) || !s.near(r.id) {
			continue
		}
		at, was := k.since[r.id]
		if !was {
			at = now
		}
		since[r.id] = at
		if now.Sub(at) >= caughtUpFor {
			who = append(who, r.Node)
		}
	}
	k.since = since
	switch n := s.Voters(); {
	case n == 1 && len(who) < 2:
		return nil
	case n == 1:
		return who[:2]
	case len(who) > 1:
		return who[:1]
	}
	return who
}

// mayLog reports whether a line may be logged: one in ten seconds.
func (k *caughtUp) mayLog(now time.Time) bool {
	if now.Sub(k.logged) < 10*time.Second {
		return false
	}
	k.logged = now
	return true
}

// Change is Node.Change.
func (p *period[R, Q]) Change(ctx context.Context, c node.MemberChange) (node.MemberChanged, error) {
	return p.member.Change(ctx, c)
}
