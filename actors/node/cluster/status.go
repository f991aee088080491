package cluster

import (
	"slices"
	"time"

	"sluice/actors/node"
	"sluice/durability"
	"sluice/durability/raftlog"
	"sluice/transport/peer"
)

var _, _ node.Clustered = (*Node[struct{}, struct{}])(nil), (*period[struct{}, struct{}])(nil)

// Cluster implements node.Clustered.
func (m *Node[R, Q]) Cluster() node.Cluster {
	st, p := m.raft.Status(), m.now.Load()
	t := m.table.load()
	voters := max(1, t.Voters())
	c := node.Cluster{ID: m.members.Cluster.String(), Node: m.members.Node, State: m.state(&st, p), Term: st.Term,
		Leader: uint8(st.Leader), Since: m.ago(st.LeaderSince).Seconds(), Quorum: voters/2 + 1,
		Committed: uint64(st.Committed), Applied: uint64(m.settled()),
		LeaderChanges: st.LeaderChanges, Leaderless: st.Leaderless.Seconds(), Rebuilds: m.machine.rebuilds.Load(),
		Replaced: st.Replaced}
	if st.Leader == 0 {
		c.Leaderless += c.Since
	}
	c.Committed = max(c.Committed, c.Applied) // that is newer
	c.Lag = lag(&c, &st)
	c.Unready = m.unready(&c, &st)
	if p != nil {
		policy := m.policy(p)
		c.Policy, c.Class = policy.String(), policy.Class(voters).String()
	}
	links := m.links.Status()
	for _, x := range t.rows {
		row := node.ClusterMember{Node: x.Node, Generation: raftlog.Generation(x.id), Role: x.role.String(), Client: x.Client}
		if x.id == m.id {
			m.self(&row, &c, &st)
		} else {
			m.other(x.id, &row, &st, links)
		}
		c.Members = append(c.Members, row)
	}
	return c
}

// Cluster is Node.Cluster.
func (p *period[R, Q]) Cluster() node.Cluster { return p.member.Cluster() }

// Transfer is Node.Transfer.
func (p *period[R, Q]) Transfer(to uint8) error { return p.member.Transfer(to) }

// Ready reports that the member takes part, and that clients are served here or may be sent here for the
// leader's address. See node.Cluster.Unready for why not.
func (m *Node[R, Q]) Ready() bool { return m.Cluster().Unready == "" }

// Ready is Node.Ready.
func (p *period[R, Q]) Ready() bool { return p.member.Ready() }

// lagReady is how many events a member may be behind and be ready nevertheless; or a second.
const lagReady = 10_000

// unready says why clients should not be sent to this member.
func (m *Node[R, Q]) unready(c *node.Cluster, st *raftlog.Status) string {
	select {
	case <-m.ending.ended:
		return node.UnreadyEnded
	default:
	}
	switch {
	case !m.ending.ready.Load():
		return node.UnreadyEnding
	case c.State == node.MemberTakesOver, c.State == node.MemberElects:
		return c.State
	case st.Late && c.Lag > lagReady:
		return node.UnreadyBehind
	}
	return ""
}

// lag is how many events are committed and not applied here. Of entries that are not on this disk, the
// number is known, but not that of their events: they count as those before them.
func lag(c *node.Cluster, st *raftlog.Status) uint64 {
	here, entries := uint64(st.Committed), max(st.Applied, 1)
	return c.Committed - c.Applied + st.Behind*max(1, here/entries)
}

// ago is the time since a moment of the monotonic clock.
func (m *Node[R, Q]) ago(at int64) time.Duration { return max(0, time.Duration(m.clock.Now()-at)) }

// state is that of this member. It leads once its clients are served.
func (m *Node[R, Q]) state(st *raftlog.Status, p *period[R, Q]) string {
	switch {
	case st.Leads && p != nil && p.lead != nil && p.lead.Term == st.Term && p.Node.Ready():
		return node.MemberLeads
	case st.Leads:
		return node.MemberTakesOver
	case st.Leader == 0:
		return node.MemberElects
	}
	return node.MemberFollows
}

// self completes the row of this member.
func (m *Node[R, Q]) self(row *node.ClusterMember, c *node.Cluster, st *raftlog.Status) {
	row.State, row.Version = c.State, m.cfg.Version
	row.Match, row.Disk = new(uint64(st.Stored)), new(max(st.SlowestWrite, m.underWay(st)).Seconds())
}

// underWay is the age of the oldest write that has not ended.
func (m *Node[R, Q]) underWay(st *raftlog.Status) time.Duration {
	if st.OldestWrite == 0 {
		return 0
	}
	return m.ago(st.OldestWrite)
}

// other completes the row of another member.
func (m *Node[R, Q]) other(id uint64, row *node.ClusterMember, st *raftlog.Status, links []peer.Status) {
	var up bool
	row.Link, row.Version, up = linkTo(row.Node, links)
	i := slices.IndexFunc(st.Peers, func(p raftlog.PeerStatus) bool { return p.Node == id })
	if i < 0 {
		return
	}
	p := st.Peers[i]
	if p.HeardAt != 0 {
		row.Heard = new(m.ago(p.HeardAt).Seconds())
	}
	if st.Leads && (p.Match > 0 || p.State == "replicate") { // else nothing was acknowledged in this term
		row.Match, row.InMemory = new(uint64(p.Match)), new(uint64(p.InMemory))
		row.Lag = new(uint64(max(st.Stored, p.Match) - p.Match))
	}
	switch {
	case st.Leader == p.Node:
		row.State = node.MemberLeads
	case st.Leads && (p.HeardAt == 0 || m.ago(p.HeardAt) > 2*m.election()):
		row.State = node.MemberSilent
	case st.Leads && p.State == "snapshot":
		row.State = node.MemberReceives
	case st.Leads && p.State == "probe":
		row.State = node.MemberProbed
	case !up:
		row.State = node.MemberUnreachable
	default:
		row.State = node.MemberFollows
	}
}

// canTake reports whether a member follows the log so that it can lead next: the one named, or any.
func (m *Node[R, Q]) canTake(to uint8, st *raftlog.Status) bool {
	return slices.ContainsFunc(st.Peers, func(p raftlog.PeerStatus) bool {
		x, _ := m.table.load().byID(p.Node)
		return (to == 0 || uint8(p.Node) == to) && x.role.Votes() && p.State == "replicate" &&
			m.ago(p.HeardAt) <= 2*m.election()
	})
}

// election is the election time in use.
func (m *Node[R, Q]) election() time.Duration {
	if m.cfg.Election == 0 {
		return raftlog.DefaultElection
	}
	return m.cfg.Election
}

// linkTo says how the lanes to and from another node are, and which version its program has.
func linkTo(to uint8, links []peer.Status) (text, version string, up bool) {
	text, up = "up", true
	for _, l := range links {
		if l.Node != to {
			continue
		}
		version = l.Version
		for _, way := range []struct {
			name string
			flow peer.Flow
		}{{"to", l.Out}, {"from", l.In}} {
			if !way.flow.Connected && up {
				text, up = l.Lane.String()+" "+way.name+" it is down", false
			}
		}
	}
	return text, version, up
}

// TraceVoters implements node.Clustered.
func (p *period[R, Q]) TraceVoters(on bool) {
	if p.lead != nil {
		p.lead.Trace(on)
	}
}

// Voters implements node.Clustered.
func (p *period[R, Q]) Voters(event uint64) (all []node.Voter) {
	if p.lead == nil {
		return nil
	}
	for _, v := range p.lead.Passed(durability.Seq(event)) {
		all = append(all, node.Voter{Node: uint8(v.Node), At: v.At})
	}
	return all
}

// TraceVoters is that of the present period.
func (m *Node[R, Q]) TraceVoters(on bool) { m.period().TraceVoters(on) }

// Voters are those of the present period.
func (m *Node[R, Q]) Voters(event uint64) []node.Voter { return m.period().Voters(event) }
