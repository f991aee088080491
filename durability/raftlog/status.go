package raftlog

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"sluice/durability"
)

// Status is what a node knows of the cluster. Numbers are of events.
type Status struct {
	Node, Term, Leader uint64 // Leader is 0 while none is known
	Leads              bool   // this node leads; Serving says that everything before is applied
	Serving            bool
	LeaderChanges      uint64
	LeaderSince        int64          // monotonic ns, since when Leader has been what it is
	Leaderless         time.Duration  // without a known leader, since the start; not counting the present one
	Committed          durability.Seq // last event that is known to be committed, and on this disk
	Stored             durability.Seq // last event on this disk
	Snapshot           durability.Seq // last event of the newest snapshot on this disk; 0 for none
	InMemory           uint64         // bytes of the entries in memory: those since the snapshot before the newest one
	Logged             uint64         // bytes of entries that were written since the start
	Replaced           uint64         // events of this log since the start that are not in that of the cluster, at most
	Applied            uint64         // index up to which the state machine is
	Behind             uint64         // entries that the leader said are committed, and that are not on this disk
	Late               bool           // the state machine lacks an entry that was committed a second or two ago
	Unsynced           int            // bytes of entries on their way to the disk
	OldestWrite        int64          // monotonic ns, when the oldest write under way began; 0 for none
	SlowestWrite       time.Duration  // of those that ended in the last second or two
	Members            Members
	SnapshotWanted     bool         // a member can be sent no snapshot that there is: it was added later
	Peers              []PeerStatus // the other members, in the order of Members
}

// PeerStatus is what a node knows of another one. Match and InMemory are known by the leader only.
type PeerStatus struct {
	Node            uint64
	Match, InMemory durability.Seq // last event on its disk, and in its memory
	HeardAt         int64          // monotonic ns, of its last message; 0 for never
	Place           int            // its ID in the View of a leadership
	State           string         // how the leader sends to it: probe, replicate or snapshot
}

// Status returns the state as of the last tick or change of leadership. Any goroutine.
func (n *Node) Status() Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.status
	s.Peers = append([]PeerStatus(nil), s.Peers...)
	return s
}

// report renews the status.
func (n *Node) report() {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := &n.status
	s.Node, s.Term, s.Leader, s.Leads, s.Serving = n.o.ID, n.role.term, n.role.leader, n.role.leads, n.lead != nil
	s.Committed, s.Stored, s.Applied = n.handed, n.log.seq(n.writes.stable), n.got.applied
	s.LeaderChanges, s.LeaderSince, s.Leaderless = n.leaders.changes, n.leaders.since, n.leaders.without
	s.Snapshot, s.InMemory = n.log.newest.Seq, n.log.bytes()
	s.Logged, s.Replaced = n.writes.logged, n.writes.replaced
	s.Unsynced, s.OldestWrite, s.SlowestWrite = n.writes.bytes, n.oldestWrite(), n.writes.slowest.read(n.now)
	s.Members, s.SnapshotWanted = n.log.members(), n.role.leads && n.wantsSnapshot()
	n.told = max(n.told, n.handedAt)
	s.Behind = n.told - n.handedAt
	s.Late = n.got.applied < n.trail.before(n.now, n.told) && !n.role.leads // a leader executes ahead of its log
	s.Peers = s.Peers[:0]
	for _, p := range n.peers {
		s.Peers = append(s.Peers, PeerStatus{Node: p.id, Place: p.place, HeardAt: p.heardAt})
	}
	if !n.role.leads {
		return
	}
	n.raw.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		for i := range s.Peers {
			if p := &s.Peers[i]; p.Node == id {
				p.Match, p.State = n.log.seq(pr.Match), strings.ToLower(strings.TrimPrefix(pr.State.String(), "State"))
				p.InMemory = max(p.Match, n.log.seq(n.peer(id).received))
			}
		}
	})
}

// slowest keeps the longest time of the last second or two.
type slowest struct {
	since         int64 // monotonic ns, of now
	now, previous time.Duration
}

// read returns the longest time.
func (s *slowest) read(now int64) time.Duration {
	switch age := time.Duration(now - s.since); {
	case age >= 2*time.Second:
		*s = slowest{since: now}
	case age >= time.Second:
		s.since, s.previous, s.now = s.since+int64(time.Second), s.now, 0
	}
	return max(s.now, s.previous)
}

// add notes a time.
func (s *slowest) add(now int64, took time.Duration) {
	s.read(now)
	s.now = max(s.now, took)
}

// trail remembers what a number was one to two seconds ago.
type trail struct {
	since         int64 // monotonic ns, of last
	last, earlier uint64
}

// before is what the number was; it is at now.
func (t *trail) before(now int64, at uint64) uint64 {
	if time.Duration(now-t.since) >= time.Second {
		t.since, t.earlier, t.last = now, t.last, at
	}
	return t.earlier
}

// quiet passes what the library logs on, as debug lines but for what it calls a warning. A failure of
// the library is a panic: its state can no longer be trusted.
type quiet struct{ to *slog.Logger }

func (q quiet) Debug(v ...any)              {}
func (q quiet) Debugf(f string, v ...any)   {}
func (q quiet) Info(v ...any)               { q.to.Debug(fmt.Sprint(v...)) }
func (q quiet) Infof(f string, v ...any)    { q.to.Debug(fmt.Sprintf(f, v...)) }
func (q quiet) Warning(v ...any)            { q.to.Debug(fmt.Sprint(v...)) }
func (q quiet) Warningf(f string, v ...any) { q.to.Debug(fmt.Sprintf(f, v...)) }
func (q quiet) Error(v ...any)              { q.to.Warn(fmt.Sprint(v...)) }
func (q quiet) Errorf(f string, v ...any)   { q.to.Warn(fmt.Sprintf(f, v...)) }
func (q quiet) Fatal(v ...any)              { panic(fmt.Sprint(v...)) }
func (q quiet) Fatalf(f string, v ...any)   { panic(fmt.Sprintf(f, v...)) }
func (q quiet) Panic(v ...any)              { panic(fmt.Sprint(v...)) }
func (q quiet) Panicf(f string, v ...any)   { panic(fmt.Sprintf(f, v...)) }
