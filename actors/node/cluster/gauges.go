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
			f.class = p.Policy().Current().Class(len(m.members.Members))
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
	c.Gauge(telemetry.ClusterPolicyClass, telemetry.NoShard, "", func() float64 {
		_, _, class := m.look()
		return float64(class)
	})
	for i, x := range m.members.Members {
		if x.Node == m.members.Node {
			add(telemetry.ClusterDiskSlowest, func(c *node.Cluster) float64 { return *c.Members[i].Disk })
			continue
		}
		m.peerGauges(c, i, fmt.Sprint(x.Node))
	}
	for lane := peer.Control; lane <= peer.Bulk; lane++ {
		c.Gauge(telemetry.ClusterLinkDropped, telemetry.NoShard, lane.String(), func() float64 {
			_, links, _ := m.look()
			dropped := uint64(0)
			for _, l := range links {
				if l.Lane == lane {
					dropped += l.Dropped
				}
			}
			return float64(dropped)
		})
	}
	m.diskGauges(c)
}

// peerGauges registers what is known of the member at a place of the membership.
func (m *Node[R, Q]) peerGauges(c *telemetry.Collector, place int, name string) {
	add := func(id telemetry.GaugeID, read func(c *node.Cluster, x *node.ClusterMember) float64) {
		c.Gauge(id, telemetry.NoShard, name, func() float64 {
			now, _, _ := m.look()
			return read(&now, &now.Members[place])
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
	to := m.members.Members[place].Node
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
