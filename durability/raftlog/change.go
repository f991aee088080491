package raftlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// Change is a change of the membership. One that names several members is carried out through a joint
// configuration, which ends by itself.
type Change struct {
	Base   uint64   // Index of the Members for which it was made; it has no effect on others
	Set    []Member // members with their new roles, Learner or Voter, and what is known of them
	Remove []uint64 // ids of members
}

// Results of Node.Change.
var (
	ErrNotLeading = errors.New("raftlog: this node does not lead, or begins to")
	ErrChanging   = errors.New("raftlog: another change of the membership is under way")
	ErrChanged    = errors.New("raftlog: another change of the membership came first")
	// ErrChangeUnknown says that the leadership has ended meanwhile: the change may be in the log.
	ErrChangeUnknown = errors.New("raftlog: the leadership has ended; the change of the membership may come")
)

// changing is a change under way.
type changing struct {
	change Change
	again  int64 // monotonic ns, when it is proposed again: the library may leave a proposal out
	done   chan<- error
}

// changeAgain is the time after which a change is proposed again. If both get into the log, the second one
// has no effect.
const changeAgain = 200 * time.Millisecond

// Members returns the members as of the last change that this node has applied. Any goroutine.
func (n *Node) Members() Members {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status.Members
}

// Change has a change put into the log, and returns when it is applied here, and a joint configuration has
// ended. If ctx ends before, it may still come. Any goroutine.
func (n *Node) Change(ctx context.Context, c Change) error {
	done := make(chan error, 1)
	if err := n.ask(ctx, func() error { return n.startChange(c, done) }); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("raftlog: the change is not in the log yet, and may come: %w", context.Cause(ctx))
	}
}

// StartChange is Change for programs that step the node themselves. It is called between two Steps; Members
// shows the result.
func (n *Node) StartChange(c Change) error { return n.startChange(c, make(chan error, 1)) }

func (n *Node) startChange(c Change, done chan<- error) error {
	switch {
	case n.lead == nil:
		return ErrNotLeading
	case n.changing != nil || n.log.members().Joint():
		return ErrChanging
	case c.Base != n.log.members().Index:
		return ErrChanged
	}
	if err := c.check(n.log.members()); err != nil {
		return err
	}
	n.changing = &changing{change: c, again: n.now, done: done}
	n.proposeChange()
	return nil
}

// check reports why a change is not possible.
func (c *Change) check(m Members) error {
	next := Members{}
	for _, x := range m.All {
		named := slices.ContainsFunc(c.Set, func(y Member) bool { return x.ID == y.ID })
		if !named && !slices.Contains(c.Remove, x.ID) {
			next.All = append(next.All, x)
		}
	}
	for _, x := range c.Set {
		if x.Role > Voter {
			return fmt.Errorf("raftlog: node %d cannot be made a %v", uint8(x.ID), x.Role)
		}
	}
	for _, id := range c.Remove {
		if _, is := m.Member(id); !is {
			return fmt.Errorf("raftlog: node %d of generation %d is no member", uint8(id), Generation(id))
		}
	}
	if len(c.Set)+len(c.Remove) == 0 {
		return errors.New("raftlog: an empty change of the membership")
	}
	next.All = append(next.All, c.Set...)
	next.sort()
	return next.check()
}

// proposeChange proposes the change under way, if it is time to.
func (n *Node) proposeChange() {
	c := n.changing
	if c == nil || n.now < c.again || n.err != nil {
		return
	}
	c.again = n.now + int64(changeAgain)
	if n.raw.ProposeConfChange(c.change.proposal()) != nil { // a handover is under way
		c.again = n.now
	}
}

// proposal is the library's form of a change.
func (c *Change) proposal() *pb.ConfChangeV2 {
	le := binary.LittleEndian
	cc := &pb.ConfChangeV2{Context: le.AppendUint64(nil, c.Base)}
	for _, x := range c.Set {
		kind := pb.ConfChangeAddLearnerNode
		if x.Role == Voter {
			kind = pb.ConfChangeAddNode
		}
		cc.Changes = append(cc.Changes, &pb.ConfChangeSingle{Type: kind.Enum(), NodeId: new(x.ID)})
		cc.Context = le.AppendUint16(le.AppendUint16(cc.Context, uint16(x.ID)), uint16(len(x.Info)))
		cc.Context = append(cc.Context, x.Info...)
	}
	for _, id := range c.Remove {
		cc.Changes = append(cc.Changes, &pb.ConfChangeSingle{Type: pb.ConfChangeRemoveNode.Enum(), NodeId: new(id)})
	}
	return cc
}

// parseChange reads an entry of a change: what it is based on, and what it says of members. Without changes
// it ends a joint configuration.
func parseChange(data []byte) (cc *pb.ConfChangeV2, base uint64, infos map[uint64]string, err error) {
	cc, infos = new(pb.ConfChangeV2), make(map[uint64]string)
	if err := proto.Unmarshal(data, cc); err != nil {
		return nil, 0, nil, fmt.Errorf("raftlog: a change of the membership cannot be read: %w", err)
	}
	if len(cc.Changes) == 0 {
		return cc, 0, infos, nil
	}
	le, rest := binary.LittleEndian, cc.Context
	short := errors.New("raftlog: a change of the membership ends early")
	if len(rest) < 8 {
		return nil, 0, nil, short
	}
	base, rest = le.Uint64(rest), rest[8:]
	for len(rest) > 0 {
		if len(rest) < 4 || len(rest) < 4+int(le.Uint16(rest[2:])) {
			return nil, 0, nil, short
		}
		size := 4 + int(le.Uint16(rest[2:]))
		infos[uint64(le.Uint16(rest))] = string(rest[4:size])
		rest = rest[size:]
	}
	return cc, base, infos, nil
}

// changeMembers applies an entry that changes the membership.
func (n *Node) changeMembers(e *pb.Entry) error {
	cc, base, infos, err := parseChange(e.GetData())
	if err != nil {
		return err
	}
	now := n.log.members()
	if len(cc.Changes) > 0 && base != now.Index {
		return nil // another one came first; all nodes see the same
	}
	next := now.after(e.GetIndex(), n.raw.ApplyConfChange(cc), infos)
	n.log.memberships = append(n.log.memberships, next)
	n.o.Log.Info("membership changed", "node", uint8(n.o.ID), "entry", next.Index, "members", len(next.All), "voters",
		next.Voters(), "joint", next.Joint())
	n.meet(next)
	n.look()
	if c := n.changing; c != nil && !next.Joint() {
		n.changing = nil
		c.done <- nil
	}
	return nil
}

// meet makes the list of other nodes that of a membership.
func (n *Node) meet(m Members) {
	var peers []peer
	for _, p := range n.peers {
		if _, is := m.Member(p.id); is {
			peers = append(peers, p)
		} else if p.inView {
			p.feed.Deactivate()
		}
	}
	n.peers = peers
	for _, x := range m.All {
		if x.ID == n.o.ID || slices.ContainsFunc(n.peers, func(p peer) bool { return p.id == x.ID }) {
			continue
		}
		n.peers = append(n.peers, peer{id: x.ID, place: n.freePlace()})
	}
	for i := range n.peers {
		p := &n.peers[i]
		x, _ := m.Member(p.id)
		if p.votes = x.Role.Votes(); !p.votes && p.inView {
			p.inView = false
			p.feed.Deactivate()
		}
	}
	slices.SortFunc(n.peers, func(a, b peer) int {
		return slices.IndexFunc(m.All, func(x Member) bool { return x.ID == a.id }) -
			slices.IndexFunc(m.All, func(x Member) bool { return x.ID == b.id })
	})
	n.report()
	if n.o.OnMembers != nil {
		n.o.OnMembers(m)
	}
}

// freePlace is a place in the view that no other node has.
func (n *Node) freePlace() int {
	for place := 1; ; place++ {
		if !slices.ContainsFunc(n.peers, func(p peer) bool { return p.place == place }) {
			return place
		}
	}
}

// changes carries out a committed change of the membership.
func (n *Node) changes(e *pb.Entry) {
	if err := n.changeMembers(e); err != nil {
		n.feed.put(Item{Index: e.GetIndex(), Term: e.GetTerm(), Err: err})
	}
}
