package raftsim

import (
	"reflect"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"sluice/durability"
	"sluice/durability/raftlog"
)

// Judge knows what was committed and what was answered, by the contents of events. The first node that
// has an event committed fixes its content.
type Judge struct {
	Log       []uint64 // contents of the committed events, by number from 1
	Safe      bool     // the policy is of class committed: what was answered is never contradicted
	Changes   bool     // members change: who has to have what is not judged here
	Committed int
	Answered  int

	w        *World
	answered map[uint64]uint64          // by number: content of events whose response was released
	leaders  map[uint64]uint64          // by term
	votes    map[[2]uint64]uint64       // by node and term
	members  map[uint64]raftlog.Members // by entry
}

// Leads judges that a node leads in a term.
func (j *Judge) Leads(node, term uint64) {
	if other, ok := j.leaders[term]; ok && other != node {
		j.w.Fail("nodes %d and %d lead in term %d (C1)", other, node, term)
	}
	j.leaders[term] = node
}

// sent judges a frame that leaves a node: it votes for one candidate a term.
func (j *Judge) sent(node uint64, frame []byte) {
	m := new(pb.Message)
	if frame[0] != messageKind || proto.Unmarshal(frame[1:], m) != nil || m.GetType() != pb.MsgVoteResp ||
		m.GetReject() {
		return
	}
	key := [2]uint64{node, m.GetTerm()}
	if other, voted := j.votes[key]; voted && other != m.GetTo() {
		j.w.Fail("node %d votes for %d and for %d in term %d (C1)", node, other, m.GetTo(), m.GetTerm())
	}
	j.votes[key] = m.GetTo()
}

// Members judges what a node has applied of changes of the membership: all nodes have the same members after
// an entry, and each entry changes one voter, or enters or leaves a joint configuration.
func (j *Judge) Members(node uint64, m raftlog.Members) {
	if had, ok := j.members[m.Index]; ok {
		if !reflect.DeepEqual(had, m) {
			j.w.Fail("after entry %d node %d has the members %+v, and another one %+v", m.Index, node, m, had)
		}
		return
	}
	j.members[m.Index] = m
	before := uint64(0)
	for index := range j.members {
		if index < m.Index {
			before = max(before, index)
		}
	}
	was, ok := j.members[before]
	if !ok || was.Joint() || m.Joint() {
		if ok && was.Joint() && m.Joint() {
			j.w.Fail("entry %d changes the members in a joint configuration", m.Index)
		}
		return
	}
	changed := 0
	for _, x := range was.All {
		if now, _ := m.Member(x.ID); now.Role.Votes() != x.Role.Votes() {
			changed++
		}
	}
	for _, x := range m.All {
		if _, had := was.Member(x.ID); !had && x.Role.Votes() {
			changed++
		}
	}
	if changed > 1 {
		j.w.Fail("entry %d changes %d voters without a joint configuration", m.Index, changed)
	}
}

// Commit judges that a node has an event committed. It is called for every node.
func (j *Judge) Commit(node uint64, seq durability.Seq, content uint64) {
	switch at := int(seq); {
	case at == len(j.Log)+1:
		j.Log = append(j.Log, content)
		j.Committed++
		j.w.Note(content)
	case at > len(j.Log)+1:
		j.w.Fail("node %d has event %d committed, and no node the one after %d", node, seq, len(j.Log))
	case j.Log[at-1] != content:
		j.w.Fail("node %d has another event %d than was committed (C1)", node, seq)
	}
	if had, ok := j.answered[uint64(seq)]; ok && had != content && j.Safe {
		j.w.Fail("event %d was answered, and another one is committed (C3)", seq)
	}
}

// Answer judges that a response of a node left: under a policy of class committed, a majority has the
// event on disk.
func (j *Judge) Answer(node uint64, seq durability.Seq, content uint64) {
	j.Answered++
	j.w.Note(uint64(seq))
	if had, ok := j.answered[uint64(seq)]; ok && had != content && j.Safe {
		j.w.Fail("event %d was answered twice, with different contents (C3)", seq)
	}
	j.answered[uint64(seq)] = content
	if int(seq) <= len(j.Log) && j.Log[seq-1] != content && j.Safe {
		j.w.Fail("node %d answers event %d, and another one is committed (C3)", node, seq)
	}
	if !j.Safe || j.Changes {
		return
	}
	has := 0
	for _, m := range j.w.Machines {
		if m.Durable.Has(seq, content) {
			has++
		}
	}
	if has < len(j.w.Machines)/2+1 {
		j.w.Fail("node %d answers event %d, which is on %d disks (C2)", node, seq, has)
	}
}

// Highest is the last event that was answered.
func (j *Judge) Highest() (most durability.Seq) {
	for seq := range j.answered {
		most = max(most, durability.Seq(seq))
	}
	return most
}

// End judges what was answered once everything has settled: nothing of it is lost.
func (j *Judge) End() {
	for seq, content := range j.answered {
		if j.Safe && (seq > uint64(len(j.Log)) || j.Log[seq-1] != content) {
			j.w.Fail("event %d was answered and is lost (C3)", seq)
			return
		}
	}
}
