package cluster

import (
	"time"

	"sluice/durability"
	"sluice/durability/raftlog"
)

// simSpares are the machines that are not among the first members, in worlds whose members change.
const simSpares = 2

// simChange is a change of the membership that a leader carries out.
type simChange struct {
	plan    plan
	asked   bool // the policy before it is in the queue
	started bool
}

// simChanges is what a member knows of changes of the membership while it leads.
type simChanges struct {
	now          *simChange // nil if there is none
	learners     caughtUp
	fits         int            // policies of the office when one that fits was asked for
	seen         int64          // monotonic ns, of the last look at learners
	lately, last durability.Seq // what its disk had then, and one look later
}

// membership is what the member knows that has applied most changes. Each of them is committed.
func (w *simWorld) membership() (newest raftlog.Members) {
	for _, m := range w.members {
		if m.Node != nil {
			if now := m.Node.Members(); now.Index > newest.Index {
				newest = now
			}
		}
	}
	return newest
}

// change draws a change for the leader to make, or continues one.
func (m *simMember) change() {
	w, c := m.w, &m.changes
	o := m.office
	if o == nil || o.failed {
		c.now, c.fits = nil, 0
		return
	}
	if c.now != nil {
		m.carryOut(c.now)
		return
	}
	if w.Now-c.seen >= int64(learnersLook) {
		c.seen, c.lately, c.last = w.Now, c.last, m.Node.Status().Stored
	}
	s, err := m.situation()
	if err != nil {
		w.Fail("node %d: %v", m.ID, err)
		return
	}
	if who := c.learners.look(time.Unix(0, w.Now), s); len(who) > 0 {
		m.plan(s.promote(who, 0))
		return
	}
	if p, lags := s.fitting(); lags {
		if c.fits != len(o.policies) && o.queue.Policy(p) == nil {
			c.fits = len(o.policies)
		}
	}
	if w.lost != nil { // the operator sees to it soon
		if w.Calm || w.R.IntN(50) == 0 {
			m.plan(s.replace(uint8(w.lost.ID), "", ""))
		}
		return
	}
	if w.OneIn(25) {
		m.draw(s)
	}
}

// situation is that of this member, which leads.
func (m *simMember) situation() (*situation, error) {
	st := m.Node.Status()
	t, err := newTable(st.Members)
	if err != nil {
		return nil, err
	}
	s := newSituation(t, m.NodeID(), &st, m.w.Now, raftlog.DefaultElection, m.changes.lately)
	s.policy = m.office.gate.Policy().Current()
	return s, nil
}

// plan begins a change, if it is possible.
func (m *simMember) plan(p plan, err error) {
	if err != nil {
		m.w.counts.ChangesRefused++
		m.trace("refuses a change: %v", err)
		return
	}
	m.trace("plans %+v", p)
	m.changes.now = &simChange{plan: p}
}

// draw draws a change.
func (m *simMember) draw(s *situation) {
	w := m.w
	o := w.members[w.R.IntN(len(w.members))]
	r, is := s.byNode(uint8(o.ID))
	s.force = w.R.IntN(4) == 0
	switch {
	case !is && o.out:
		x, err := newTable(raftlog.FirstMembers(raftlog.Member{ID: o.ID, Info: w.Info(o.ID)}))
		if err != nil {
			w.Fail("%v", err)
			return
		}
		m.plan(s.add(x.rows[0].Member, w.R.IntN(2) == 0))
	case !is || r.id == s.self:
	case r.role == raftlog.Learner && w.R.IntN(2) == 0:
		instead := uint8(0)
		if w.R.IntN(4) > 0 {
			instead = uint8(1 + w.R.IntN(len(w.members)))
		}
		s.force = false
		m.plan(s.promote([]uint8{uint8(o.ID)}, instead))
	case w.R.IntN(2) == 0 && (s.Voters() > 2 || r.role == raftlog.Learner):
		m.plan(s.remove(uint8(o.ID)))
	case r.role.Votes() && s.Voters() >= 3 && !s.Joint() && w.whole(m, s):
		w.counts.Wiped++
		m.trace("loses the disk of node %d", o.ID)
		if o.Node != nil {
			o.crash()
		}
		o.Wipe()
		o.out, w.lost = true, o
	}
}

// whole reports that no member is a learner in the place of a lost disk, and that no change is under way, also
// not by a leader that the one who asks does not know of.
func (w *simWorld) whole(leader *simMember, s *situation) bool {
	for _, r := range s.rows {
		if r.role == raftlog.Learner && raftlog.Generation(r.id) > 0 {
			return false
		}
	}
	for _, m := range w.members {
		if m.changes.now != nil || m.Node != nil && m.Node.Status().Term > leader.office.lead.Term {
			return false
		}
	}
	return w.membership().Index == s.Index
}

// carryOut is a turn of the goroutine that carries a change out.
func (m *simMember) carryOut(c *simChange) {
	w, o := m.w, m.office
	adopted := func(p durability.Policy) bool {
		last := o.policies[len(o.policies)-1]
		return len(o.swaps) == 0 && o.gate.Policy().Current() == p && last.from <= o.lead.Confirmed()
	}
	switch now := m.Node.Members(); {
	case c.started && (now.Index == c.plan.Base || now.Joint()):
	case c.started:
		w.counts.Changes++
		m.changes.now = nil
		if c.plan.after.Len() > 0 {
			_ = o.queue.Policy(c.plan.after)
		}
	case c.plan.before.Len() > 0 && !c.asked:
		c.asked = o.queue.Policy(c.plan.before) == nil
	case c.plan.before.Len() > 0 && !adopted(c.plan.before):
	default:
		if err := m.Node.StartChange(c.plan.Change); err != nil {
			m.trace("does not start a change: %v", err)
			m.changes.now = nil
			return
		}
		c.started = true
	}
}

// join starts machines that have become members, with the directory that was made for them.
func (w *simWorld) join() {
	now := w.membership()
	for _, m := range w.members {
		if !m.out {
			continue
		}
		for _, x := range now.All {
			if uint64(uint8(x.ID)) != m.ID || x.Role != raftlog.Learner || x.ID == m.NodeID() && m.joined {
				continue
			}
			m.Wipe()
			m.Generation, m.out, m.joined = raftlog.Generation(x.ID), false, true
			w.counts.Joined++
			if w.lost == m {
				w.counts.Replaced++
				w.lost = nil
			}
			m.start()
		}
	}
}

// ends takes notice that a machine is not a member any more.
func (w *simWorld) ends(m *simMember) {
	w.counts.Removed++
	m.trace("is not a member any more")
	m.crash()
	m.out = true
}

// isMember reports that a machine is a member, by the newest membership.
func (m *simMember) isMember() bool {
	now := m.w.membership()
	_, is := now.Member(m.NodeID())
	return is && !m.out
}

// check judges that the policy of the gate asks for a majority of the voters that the leader knows, when a
// response leaves.
func (o *simOffice) checkMajority() {
	if !o.w.changing {
		return
	}
	voters := o.m.Node.Members().Voters()
	if needs := o.w.oracle.needs[o.w.index(o.gate.Policy().Current())][0]; needs < voters/2+1 {
		o.w.Fail("node %d releases a response under %v, with %d voters", o.m.ID, o.gate.Policy().Current(), voters)
	}
}

// index is the place of a policy in the list of all.
func (w *simWorld) index(p durability.Policy) int {
	for i, x := range w.policies {
		if x == p {
			return i
		}
	}
	w.Fail("the policy %v is in force, which is none of %v", p, w.policies)
	return 0
}
