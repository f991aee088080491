package cluster

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sluice/actors/node"
	"sluice/durability"
	"sluice/durability/raftlog"
	"sluice/telemetry"
	"sluice/transport/peer"
)

// figures are what a member counts from its start to its end, for the collectors of its periods. Any
// goroutine.
type figures struct {
	commits                atomic.Uint64 // group commits of the journal
	sent, unsent, received atomic.Uint64 // snapshots of the bulk
	unreceived             atomic.Uint64
	usage                  *node.Usage

	mu      sync.Mutex // guards the rest
	snap    ownSnapshots
	cluster node.Cluster  // as of readAt
	links   []peer.Status // likewise
	class   durability.Class
	readAt  int64 // monotonic ns
	// The collector that was given what is known of the other members, and which ones.
	collector *telemetry.Collector
	watched   map[uint8]bool
}

// ownSnapshots is how the snapshots that this member makes go.
type ownSnapshots struct {
	event                    durability.Seq // of the newest one
	since                    time.Time      // when the last one succeeded; the start if none did
	duration                 time.Duration  // of the last one that succeeded
	taken, failures, failing uint64
}

// ended notes the end of a snapshot that began at a time.
func (f *figures) ended(at durability.Seq, began time.Time, err error) (failing uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &f.snap
	if err != nil {
		s.failures++
		s.failing++
		return s.failing
	}
	s.taken++
	s.event, s.since, s.duration, s.failing = at, time.Now(), time.Since(began), 0
	return 0
}

// own returns how this member's snapshots go.
func (f *figures) own() ownSnapshots {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snap
}

// count counts an outcome.
func count(succeeded bool, good, bad *atomic.Uint64) {
	if succeeded {
		good.Add(1)
	} else {
		bad.Add(1)
	}
}

// figuresFor is how long what the cluster says is kept, so that one collection asks once.
const figuresFor = 20 * time.Millisecond

// look returns the state of the cluster and of the links of a moment ago.
func (m *Node[R, Q]) look() (node.Cluster, []peer.Status, durability.Class) {
	f, now := &m.figures, m.clock.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readAt == 0 || time.Duration(now-f.readAt) >= figuresFor {
		f.cluster, f.links, f.readAt = m.Cluster(), m.links.Status(), now
		f.class = 0
		if p := m.now.Load(); p != nil {
			f.class = m.policy(p).Class(max(1, m.voters()))
		}
	}
	return f.cluster, f.links, f.class
}

// gauges registers what is known of the member with the collector of a period.
func (m *Node[R, Q]) gauges(c *telemetry.Collector) {
	add := func(id telemetry.GaugeID, read func(c *node.Cluster) float64) {
		c.Gauge(id, telemetry.NoShard, "", func() float64 {
			now, _, _ := m.look()
			return read(&now)
		})
	}
	add(telemetry.ClusterTerm, func(c *node.Cluster) float64 { return float64(c.Term) })
	add(telemetry.ClusterLeader, func(c *node.Cluster) float64 { return float64(c.Leader) })
	add(telemetry.ClusterLeads, func(c *node.Cluster) float64 { return one(c.State == node.MemberLeads) })
	add(telemetry.ClusterLeaderChanges, func(c *node.Cluster) float64 { return float64(c.LeaderChanges) })
	add(telemetry.ClusterLeaderless, func(c *node.Cluster) float64 { return c.Leaderless })
	add(telemetry.ClusterCommitted, func(c *node.Cluster) float64 { return float64(c.Committed) })
	add(telemetry.ClusterApplied, func(c *node.Cluster) float64 { return float64(c.Applied) })
	add(telemetry.ClusterLag, func(c *node.Cluster) float64 { return float64(c.Lag) })
	add(telemetry.ClusterRebuilds, func(c *node.Cluster) float64 { return float64(c.Rebuilds) })
	add(telemetry.ClusterReplaced, func(c *node.Cluster) float64 { return float64(c.Replaced) })
	c.Gauge(telemetry.ClusterPolicyClass, telemetry.NoShard, "", func() float64 {
		_, _, class := m.look()
		return float64(class)
	})
	add(telemetry.ClusterDiskSlowest, func(c *node.Cluster) float64 {
		for _, x := range c.Members {
			if x.Disk != nil {
				return *x.Disk
			}
		}
		return 0
	})
	m.watchPeers(c)
	for lane := peer.Control; lane <= peer.Bulk; lane++ {
		sum := func(id telemetry.GaugeID, of func(*peer.Status) uint64) {
			c.Gauge(id, telemetry.NoShard, lane.String(), func() float64 {
				_, links, _ := m.look()
				all := uint64(0)
				for i := range links {
					if links[i].Lane == lane {
						all += of(&links[i])
					}
				}
				return float64(all)
			})
		}
		sum(telemetry.ClusterLinkWaiting, func(s *peer.Status) uint64 { return uint64(s.Waiting) })
		sum(telemetry.ClusterLinkDropped, func(s *peer.Status) uint64 { return s.Dropped })
	}
	m.diskGauges(c)
}

// watchPeers registers what is known of the other members that there are, with the collector of the present
// period or that of the next one. A member that is removed stays there, with 0, until the period ends.
func (m *Node[R, Q]) watchPeers(c *telemetry.Collector) {
	f := &m.figures
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.collector != c {
		f.collector, f.watched = c, map[uint8]bool{m.members.Node: true}
	}
	for _, x := range m.table.load().rows {
		if !f.watched[x.Node] {
			f.watched[x.Node] = true
			m.peerGauges(c, x.Node, fmt.Sprint(x.Node))
		}
	}
}

// peerGauges registers what is known of a member.
func (m *Node[R, Q]) peerGauges(c *telemetry.Collector, to uint8, name string) {
	add := func(id telemetry.GaugeID, read func(c *node.Cluster, x *node.ClusterMember) float64) {
		c.Gauge(id, telemetry.NoShard, name, func() float64 {
			now, _, _ := m.look()
			for i := range now.Members {
				if x := &now.Members[i]; x.Node == to && x.Role != raftlog.Leaving.String() {
					return read(&now, x)
				}
			}
			return 0
		})
	}
	number := func(n *uint64) float64 {
		if n == nil {
			return 0
		}
		return float64(*n)
	}
	add(telemetry.ClusterPeerMatch, func(_ *node.Cluster, x *node.ClusterMember) float64 { return number(x.Match) })
	add(telemetry.ClusterPeerInMemory, func(_ *node.Cluster, x *node.ClusterMember) float64 { return number(x.InMemory) })
	add(telemetry.ClusterPeerLag, func(_ *node.Cluster, x *node.ClusterMember) float64 { return number(x.Lag) })
	add(telemetry.ClusterPeerSilent, func(c *node.Cluster, x *node.ClusterMember) float64 {
		switch {
		case c.Leader != c.Node:
			return 0
		case x.Heard == nil:
			return c.Since
		}
		return min(*x.Heard, c.Since)
	})
	c.Gauge(telemetry.ClusterLinksDown, telemetry.NoShard, name, func() float64 {
		_, links, _ := m.look()
		down := 0.0
		for _, l := range links {
			if l.Node == to {
				down += one(!l.Out.Connected) + one(!l.In.Connected)
			}
		}
		return down
	})
}

// diskGauges registers what is known of the journal and of snapshots. Reading them touches no disk.
func (m *Node[R, Q]) diskGauges(c *telemetry.Collector) {
	add := func(id telemetry.GaugeID, read func() float64) { c.Gauge(id, telemetry.NoShard, "", read) }
	f := &m.figures
	add(telemetry.JournalCommits, func() float64 { return float64(f.commits.Load()) })
	f.usage.Gauges(c)
	newest := func(s raftlog.Status) durability.Seq { return max(s.Snapshot, f.own().event) }
	add(telemetry.SnapshotLastEvent, func() float64 { return float64(newest(m.raft.Status())) })
	add(telemetry.SnapshotAge, func() float64 { return time.Since(f.own().since).Seconds() })
	add(telemetry.SnapshotDuration, func() float64 { return f.own().duration.Seconds() })
	add(telemetry.SnapshotsTaken, func() float64 { return float64(f.own().taken) })
	add(telemetry.SnapshotFailures, func() float64 { return float64(f.own().failures) })
	add(telemetry.SnapshotFailing, func() float64 { return float64(f.own().failing) })
	add(telemetry.ClusterLogSize, func() float64 { return float64(m.raft.Status().InMemory) })
	for state, count := range map[string]func() int64{"sending": m.bulk.out.underWay,
		"receiving": m.bulk.in.underWay.Load} {
		c.Gauge(telemetry.ClusterSnapshotsUnderWay, telemetry.NoShard, state,
			func() float64 { return float64(count()) })
	}
	for outcome, n := range map[string]*atomic.Uint64{"sent": &f.sent, "not_sent": &f.unsent, "received": &f.received,
		"not_received": &f.unreceived} {
		c.Gauge(telemetry.ClusterSnapshots, telemetry.NoShard, outcome, func() float64 { return float64(n.Load()) })
	}
}

// one is 1 for what is true.
func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
