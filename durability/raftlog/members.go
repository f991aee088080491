package raftlog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"
)

// Limits of the membership.
const (
	MaxNode       = 31 // largest number of a node
	MaxGeneration = 15
	MaxVoters     = 7
	MaxMembers    = 16
	MaxInfo       = 1024 // bytes of Member.Info
)

// NodeID is the id of a node in the log. The generation counts how often the number was given to another
// directory: the id of a directory that was lost does not come back, because its votes are forgotten.
func NodeID(number, generation uint8) uint64 { return uint64(number) | uint64(generation)<<8 }

// Generation is that of the id of a node. Its number is the low byte.
func Generation(id uint64) uint8 { return uint8(id >> 8) }

func checkID(id uint64) error {
	if number := uint8(id); number < 1 || number > MaxNode || id>>8 > MaxGeneration {
		return fmt.Errorf("raftlog: node %d of generation %d: use numbers from 1 to %d, and generations up to %d", number,
			id>>8, MaxNode, MaxGeneration)
	}
	return nil
}

// Role says what a member counts for.
type Role uint8

// Roles. The last two exist in a joint configuration only, in which the majorities of old and new voters
// both decide; it ends by itself.
const (
	Learner Role = iota // it has the log, and no vote
	Voter               // in a joint configuration: not before it
	Leaving             // not after it
	Staying             // before it and after it
)

// String returns the name in lower case.
func (r Role) String() string {
	switch r {
	case Learner:
		return "learner"
	case Leaving:
		return "leaving"
	}
	return "voter"
}

// Votes reports that the role counts for a majority, now and once a joint configuration has ended.
func (r Role) Votes() bool { return r&Voter != 0 }

// Member is a node of the cluster.
type Member struct {
	ID   uint64 // see NodeID
	Role Role
	Info string // what the owner of the cluster wants to know of it, such as addresses; at most MaxInfo bytes
}

// Members are all members, as an entry of the log has made them. Its slices are not changed.
type Members struct {
	Index uint64   // of the entry
	All   []Member // by number, then generation
	Gone  []uint64 // ids of members that were removed, the last one of each number
}

// FirstMembers are the members with which a log begins. Each is a voter.
func FirstMembers(all ...Member) Members {
	m := Members{Index: firstIndex, All: slices.Clone(all)}
	for i := range m.All {
		m.All[i].Role = Voter
	}
	m.sort()
	return m
}

// Alone returns the members with which another log begins that goes on where this one has ended: one voter, with an
// id that no member of this log had.
func (m Members) Alone(number uint8, info string) Members {
	id := NodeID(number, m.NextGeneration(number))
	return m.after(firstIndex, &pb.ConfState{Voters: []uint64{id}}, map[uint64]string{id: info})
}

// sort sorts by number, then generation.
func (m *Members) sort() {
	slices.SortFunc(m.All, func(a, b Member) int {
		return cmp.Or(cmp.Compare(uint8(a.ID), uint8(b.ID)), cmp.Compare(a.ID, b.ID))
	})
}

// Member returns the member of an id; false if there is none.
func (m Members) Member(id uint64) (Member, bool) {
	for _, x := range m.All {
		if x.ID == id {
			return x, true
		}
	}
	return Member{}, false
}

// Voters is the number of members that vote once a joint configuration has ended.
func (m Members) Voters() (n int) {
	for _, x := range m.All {
		if x.Role.Votes() {
			n++
		}
	}
	return n
}

// Joint reports a joint configuration.
func (m Members) Joint() bool {
	return slices.ContainsFunc(m.All, func(x Member) bool { return x.Role >= Leaving })
}

// NextGeneration is the first generation that a number never had.
func (m Members) NextGeneration(number uint8) (next uint8) {
	had := func(id uint64) {
		if uint8(id) == number {
			next = max(next, Generation(id)+1)
		}
	}
	for _, x := range m.All {
		had(x.ID)
	}
	for _, id := range m.Gone {
		had(id)
	}
	return next
}

// state is the library's form.
func (m Members) state() *pb.ConfState {
	cs := new(pb.ConfState)
	joint := m.Joint()
	for _, x := range m.All {
		switch {
		case x.Role.Votes():
			cs.Voters = append(cs.Voters, x.ID)
		case x.Role == Learner:
			cs.Learners = append(cs.Learners, x.ID)
		}
		if x.Role >= Leaving {
			cs.VotersOutgoing = append(cs.VotersOutgoing, x.ID)
		}
	}
	if joint {
		cs.AutoLeave = new(true)
	}
	return cs
}

// after returns the members of a configuration that an entry has made. infos has what is new.
func (m Members) after(index uint64, cs *pb.ConfState, infos map[uint64]string) Members {
	next := Members{Index: index}
	roles := make(map[uint64]Role)
	for _, id := range cs.Learners {
		roles[id] = Learner
	}
	for _, id := range cs.Voters {
		roles[id] |= Voter
	}
	for _, id := range cs.VotersOutgoing {
		roles[id] |= Leaving
	}
	for id, role := range roles {
		was, _ := m.Member(id)
		info, ok := infos[id]
		if !ok {
			info = was.Info
		}
		next.All = append(next.All, Member{ID: id, Role: role, Info: info})
	}
	next.sort()
	gone := make(map[uint8]uint64)
	for _, id := range m.Gone {
		gone[uint8(id)] = id
	}
	for _, x := range m.All {
		if _, stays := roles[x.ID]; !stays {
			gone[uint8(x.ID)] = max(gone[uint8(x.ID)], x.ID)
		}
	}
	for _, id := range gone {
		next.Gone = append(next.Gone, id)
	}
	slices.Sort(next.Gone)
	return next
}

// check reports what is wrong with members.
func (m Members) check() error {
	if len(m.All) > MaxMembers || m.Voters() > MaxVoters {
		return fmt.Errorf("raftlog: %d members, %d of them voters; at most %d and %d are possible", len(m.All), m.Voters(),
			MaxMembers, MaxVoters)
	}
	last := uint64(0)
	for _, x := range m.All {
		if err := checkID(x.ID); err != nil {
			return err
		}
		if uint8(x.ID) == uint8(last) && x.ID <= last {
			return fmt.Errorf("raftlog: node %d is named twice: name each once", uint8(x.ID))
		}
		if len(x.Info) > MaxInfo {
			return fmt.Errorf("raftlog: %d bytes are known of node %d; at most %d", len(x.Info), uint8(x.ID), MaxInfo)
		}
		last = x.ID
	}
	if m.Voters() == 0 {
		return errors.New("raftlog: no member has a vote")
	}
	return nil
}

// Form of the members in a snapshot, little-endian:
//
//	index u64 | members u8 | gone u8 | each member: id u16, role u8, info length u16, info | each gone: id u16
func (m Members) encode() []byte {
	le := binary.LittleEndian
	b := append(le.AppendUint64(nil, m.Index), byte(len(m.All)), byte(len(m.Gone)))
	for _, x := range m.All {
		b = append(le.AppendUint16(b, uint16(x.ID)), byte(x.Role))
		b = append(le.AppendUint16(b, uint16(len(x.Info))), x.Info...)
	}
	for _, id := range m.Gone {
		b = le.AppendUint16(b, uint16(id))
	}
	return b
}

// readMembers reads what encode has written.
func readMembers(r io.Reader) (m Members, err error) {
	le := binary.LittleEndian
	read := func(n int) []byte {
		p := make([]byte, n)
		if err == nil {
			_, err = io.ReadFull(r, p)
		}
		return p
	}
	p := read(10)
	m.Index = le.Uint64(p)
	all, gone := p[8], p[9]
	for range all {
		p := read(5)
		x := Member{ID: uint64(le.Uint16(p)), Role: Role(p[2])}
		x.Info = string(read(int(le.Uint16(p[3:]))))
		m.All = append(m.All, x)
	}
	for range gone {
		m.Gone = append(m.Gone, uint64(le.Uint16(read(2))))
	}
	return m, err
}
