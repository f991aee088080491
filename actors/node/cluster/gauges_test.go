package cluster

import (
	"fmt"
	"testing"

	"sluice/actors/node"
	"sluice/cmd/orderbook"
	"sluice/telemetry"
)

// gaugesOf reads all gauges of a node, by name and value of the label.
func gaugesOf(n node.Running) map[string]float64 {
	all := map[string]float64{}
	n.Collector().Gauges(func(g telemetry.Gauge, v float64) {
		key := g.Name
		if g.Value != "" {
			key += " " + g.Value
		}
		all[key] = v
	})
	return all
}

func TestGaugesOfAMember(t *testing.T) {
	c := newTrio(t, func(cfg *Config[orderbook.Report, orderbook.Answer]) { steady(cfg); cfg.Node.SnapshotEvents = 20 })
	trader := c.trader(1)
	for i := range int64(50) {
		order(t, trader, 100+i)
	}
	id := c.leader()
	other, gone := id%3+1, (id+1)%3+1
	c.until("figures of the leader", func() bool {
		g := gaugesOf(c.nodes[id])
		match := fmt.Sprintf("cluster_peer_match_seq %d", other)
		return g["cluster_leads"] == 1 && g["cluster_leader"] == float64(id) && g["cluster_commit_seq"] >= 50 &&
			g["cluster_applied_seq"] == g["cluster_commit_seq"] && g[match] == g["cluster_commit_seq"] &&
			g[fmt.Sprintf("cluster_peer_in_memory_seq %d", other)] == g[match] && g["cluster_term"] > 0 &&
			g["cluster_policy_class"] == 3 && g["cluster_leader_changes"] > 0 && g["snapshots_taken"] > 0 &&
			g["snapshot_last_event"] > 0 && g["snapshot_duration"] > 0 && g["snapshot_failing"] == 0 &&
			g["cluster_log_size"] > 0 && g["cluster_snapshots_under_way sending"] == 0 &&
			g["cluster_link_waiting append"] >= 0 &&
			g["journal_commits"] > 0 && g["journal_size"] > 0 && g["cluster_disk_slowest"] >= 0
	})
	c.until("figures of a follower", func() bool {
		g := gaugesOf(c.nodes[other])
		return g["cluster_leads"] == 0 && g["cluster_leader"] == float64(id) && g["snapshots_taken"] > 0 &&
			g[fmt.Sprintf("cluster_peer_match_seq %d", id)] == 0 && g[fmt.Sprintf("cluster_links_down %d", id)] == 0
	})
	c.stop(gone)
	order(t, trader, 300)
	c.until("the loss in the figures of the leader", func() bool {
		g := gaugesOf(c.nodes[id])
		return g[fmt.Sprintf("cluster_links_down %d", gone)] > 0 && g[fmt.Sprintf("cluster_peer_silent %d", gone)] > 0.1 &&
			g[fmt.Sprintf("cluster_peer_lag_events %d", gone)] > 0
	})
	c.stop(other)
	c.until("time without a leader", func() bool { return gaugesOf(c.nodes[id])["cluster_leaderless_seconds"] > 0 })
}
