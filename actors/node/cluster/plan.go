package cluster

import (
	"errors"
	"fmt"
	"strings"

	"sluice/actors/node"
	"sluice/durability"
	"sluice/durability/raftlog"
)

// situation is what a leader knows when the membership is to be changed.
type situation struct {
	*table
	self   uint64               // the leader
	alive  func(id uint64) bool // a member was heard of lately
	near   func(id uint64) bool // a learner has nearly all of the log
	policy durability.Policy    // in force
	force  bool
}

// plan is a change that is possible, with the policies that are to be put in force before and after it; none if
// zero.
type plan struct {
	raftlog.Change
	before, after durability.Policy
	id            uint64 // of a new member; 0 if there is none
}

// of plans a change that an operator asks for.
func (s *situation) of(c *node.MemberChange) (plan, error) {
	switch c.Verb {
	case node.MemberAdd:
		return s.add(Member{c.Node, c.Peer, c.Client}, c.Learner)
	case node.MemberPromote:
		return s.promote(append([]uint8{c.Node}, c.With...), c.InsteadOf)
	case node.MemberRemove:
		return s.remove(c.Node)
	case node.MemberReplace:
		return s.replace(c.Node, c.Peer, c.Client)
	}
	return plan{}, fmt.Errorf("cluster: a change of members cannot be %q: use %s, %s, %s or %s", c.Verb, node.MemberAdd,
		node.MemberPromote, node.MemberRemove, node.MemberReplace)
}

// add plans that a node becomes a learner.
func (s *situation) add(m Member, learner bool) (p plan, err error) {
	if _, is := s.byNode(m.Node); is {
		return p, fmt.Errorf("cluster: node %d is a member already: sluice cluster replace gives its number to a new data "+
			"directory", m.Node)
	}
	if !learner {
		if _, err = s.growing(max(3, s.Voters()+1)); err != nil {
			return p, fmt.Errorf("%w; or add the node with --learner", err)
		}
	}
	return s.enter(m, learner)
}

// enter plans that a new data directory becomes a learner.
func (s *situation) enter(m Member, learner bool) (p plan, err error) {
	generation := s.NextGeneration(m.Node)
	if err := m.check(); err != nil {
		return p, err
	}
	if generation > raftlog.MaxGeneration {
		return p, fmt.Errorf("cluster: number %d was given to %d data directories, and to no more: use another number", m.Node,
			generation)
	}
	for _, r := range s.rows {
		for _, address := range []string{r.Peer, r.Client} {
			if r.Node != m.Node && (strings.EqualFold(address, m.Peer) || strings.EqualFold(address, m.Client)) {
				return p, fmt.Errorf("cluster: %s is an address of node %d: node %d needs addresses of its own", address, r.Node,
					m.Node)
			}
		}
	}
	p.Base, p.id = s.Index, raftlog.NodeID(m.Node, generation)
	p.Set = []raftlog.Member{{ID: p.id, Role: raftlog.Learner, Info: infoOf(m, learner)}}
	return p, nil
}

// promote plans that learners become voters, one of them perhaps in the place of a voter.
func (s *situation) promote(nodes []uint8, insteadOf uint8) (p plan, err error) {
	p.Base = s.Index
	for _, n := range nodes {
		r, is := s.byNode(n)
		switch {
		case !is:
			return p, fmt.Errorf("cluster: node %d is not a member: add it with sluice cluster add", n)
		case r.role != raftlog.Learner:
			return p, fmt.Errorf("cluster: node %d is a voter already", n)
		case !s.force && (!s.alive(r.id) || !s.near(r.id)):
			return p, fmt.Errorf("cluster: node %d has not caught up with the log, or is down: see sluice cluster status, and "+
				"ask again", n)
		}
		p.Set = append(p.Set, raftlog.Member{ID: r.id, Role: raftlog.Voter, Info: infoOf(r.Member, false)})
	}
	if insteadOf != 0 {
		r, err := s.leaves(insteadOf)
		if err != nil {
			return p, err
		}
		p.Remove = []uint64{r.id}
	}
	voters, err := s.remain(&p)
	if err != nil {
		return p, err
	}
	p.before, err = s.growing(voters)
	return p, err
}

// leaves returns the member that is to leave.
func (s *situation) leaves(n uint8) (r row, err error) {
	r, is := s.byNode(n)
	switch {
	case !is:
		return r, fmt.Errorf("cluster: node %d is not a member", n)
	case r.id == s.self:
		return r, fmt.Errorf("cluster: node %d leads: hand its leadership over with sluice cluster transfer, and ask the next "+
			"leader", n)
	}
	return r, nil
}

// remove plans that a node leaves.
func (s *situation) remove(n uint8) (p plan, err error) {
	r, err := s.leaves(n)
	if err != nil {
		return p, err
	}
	p.Base, p.Remove = s.Index, []uint64{r.id}
	if r.role == raftlog.Learner {
		return p, nil
	}
	voters, err := s.remain(&p)
	if err != nil {
		return p, err
	}
	p.after = s.shrinking(voters)
	if s.policy == durability.Majority(s.Voters()) {
		return p, nil
	}
	if err := s.policy.MetBy(voters); err != nil {
		return p, fmt.Errorf("cluster: with %d voters the policy in force could not be met: %w; put another one in force "+
			"first, with sluice admin policy", voters, err)
	}
	return p, nil
}

// replace plans that the number of a node whose data is lost is given to a new directory.
func (s *situation) replace(n uint8, peer, client string) (p plan, err error) {
	r, err := s.leaves(n)
	if err != nil {
		return p, err
	}
	if s.alive(r.id) && !s.force {
		return p, fmt.Errorf("cluster: node %d is up: stop it first, if its data directory is to be given up", n)
	}
	m := r.Member
	if peer != "" {
		m.Peer = peer
	}
	if client != "" {
		m.Client = client
	}
	if p, err = s.enter(m, r.role == raftlog.Learner && r.stays); err != nil {
		return p, err
	}
	p.Remove = []uint64{r.id}
	if r.role == raftlog.Learner {
		return p, nil
	}
	force := s.force
	s.force = true // two voters may be left, until the new directory has caught up
	voters, err := s.remain(&p)
	s.force = force
	if err != nil {
		return p, err
	}
	p.after = s.shrinking(voters) // the new directory may be removed before it votes
	return p, nil
}

// remain returns how many voters there are after a change, and why the cluster would not be safe or would stop
// with them.
func (s *situation) remain(p *plan) (voters int, err error) {
	up := 0
	count := func(id uint64) {
		voters++
		if s.alive(id) {
			up++
		}
	}
	for _, r := range s.rows {
		if r.role.Votes() && !named(p.Remove, r.id) {
			count(r.id)
		}
	}
	for _, x := range p.Set {
		if x.Role == raftlog.Voter {
			count(x.ID)
		}
	}
	switch {
	case voters == 0:
		return 0, errors.New("cluster: no voter would be left")
	case voters == 1 && !s.force:
		return 1, errors.New("cluster: one voter would be left: the loss of its disk would lose everything; --force does it " +
			"anyway")
	case voters == 2 && !s.force:
		return 2, errors.New("cluster: two voters would be left: both would be needed for a majority, so the loss of either " +
			"one would stop the cluster. From one voter, two learners are promoted together; --force does it anyway")
	case up < voters/2+1:
		return voters, fmt.Errorf("cluster: %d of the %d voters after the change are up, which is no majority: the cluster would "+
			"stop. Start them first", up, voters)
	}
	return voters, nil
}

// shrinking returns the policy that is to be put in force once there are only as many voters, none if that in
// force may stay.
func (s *situation) shrinking(voters int) (less durability.Policy) {
	was := durability.Majority(s.Voters())
	if less = durability.Majority(voters); s.policy != was || less == was {
		return durability.Policy{}
	}
	return less
}

// growing returns the policy that is to be put in force before there are as many voters, none if that in force
// may stay: what it promises must not become less.
func (s *situation) growing(voters int) (durability.Policy, error) {
	was := s.Voters()
	if s.policy.Class(voters) >= s.policy.Class(was) {
		return durability.Policy{}, nil
	}
	if s.policy == durability.Majority(was) {
		return durability.Majority(voters), nil
	}
	return durability.Policy{}, fmt.Errorf("cluster: the policy in force, %q, is %v with %d voters, and would be %v with %d: "+
		"put %q in force first, with sluice admin policy", s.policy, s.policy.Class(was), was, s.policy.Class(voters), voters,
		durability.Majority(voters))
}

// fitting returns the policy of a majority of the voters that there are, if that in force is one of more, and
// can never be met: a leader was lost between the removal of a voter and the next policy, or between a policy and
// the promotion for which it was meant.
func (s *situation) fitting() (durability.Policy, bool) {
	voters := s.Voters()
	for n := voters + 1; n <= raftlog.MaxVoters; n++ {
		if s.policy == durability.Majority(n) {
			return durability.Majority(voters), s.policy.MetBy(voters) != nil && !s.Joint()
		}
	}
	return durability.Policy{}, false
}

func named(ids []uint64, id uint64) bool {
	for _, x := range ids {
		if x == id {
			return true
		}
	}
	return false
}
