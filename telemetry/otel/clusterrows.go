package otel

import "sluice/telemetry"

// clusterGaugeRows are the instruments of a member of a cluster.
func clusterGaugeRows() []row {
	g := gaugeRow
	return []row{
		g(telemetry.ClusterTerm, "sluice.cluster.term", Gauge, "", "Term of the log, which rises with each election."),
		g(telemetry.ClusterLeader, "sluice.cluster.leader", Gauge, "",
			"Number of the node that leads; 0 while none is known."),
		g(telemetry.ClusterLeads, "sluice.cluster.leads", Gauge, "", "1 while this node leads and serves clients."),
		g(telemetry.ClusterLeaderChanges, "sluice.cluster.leader_changes", Counter, "{change}",
			"Times another node led, or none."),
		g(telemetry.ClusterLeaderless, "sluice.cluster.leaderless_seconds", Counter, "s", "Time without a known leader."),
		g(telemetry.ClusterCommitted, "sluice.cluster.commit_seq", Gauge, "",
			"Last event that this node knows to be committed."),
		g(telemetry.ClusterApplied, "sluice.cluster.applied_seq", Gauge, "",
			"Last committed event that this node has applied."),
		g(telemetry.ClusterLag, "sluice.cluster.lag_events", Gauge, "{event}",
			"Events that are committed and that this node has not applied, about."),
		g(telemetry.ClusterPolicyClass, "sluice.cluster.policy_class", Gauge, "",
			"Class of the policy: 3 committed, 2 crash-safe, 1 exposed."),
		g(telemetry.ClusterDiskSlowest, "sluice.cluster.disk.slowest", Gauge, "s",
			"Slowest write of the log of the last second or two, including one under way."),
		g(telemetry.ClusterRebuilds, "sluice.cluster.rebuilds", Counter, "{rebuild}",
			"Times the state was rebuilt because it was ahead of the log."),
		g(telemetry.ClusterReplaced, "sluice.cluster.replaced_events", Counter, "{event}",
			"Events of this node's log that another leader's replaced: some may have been acknowledged under a policy "+
				"that is not of class committed."),
		g(telemetry.ClusterSnapshots, "sluice.cluster.snapshots", Counter, "{snapshot}",
			"Snapshots sent to other nodes and received, by outcome.", "outcome"),
		g(telemetry.ClusterSnapshotsUnderWay, "sluice.cluster.snapshots.under_way", Gauge, "{snapshot}",
			"Snapshots on their way to other nodes (sending) and from them (receiving).", "state"),
		g(telemetry.ClusterLogSize, "sluice.cluster.log.size", Gauge, "By",
			"Entries of the log in memory: those since the snapshot before the newest one."),
		g(telemetry.ClusterLinkWaiting, "sluice.cluster.link.waiting", Gauge, "By",
			"Frames that wait to be sent to other nodes, by lane.", "lane"),
		g(telemetry.ClusterLinkDropped, "sluice.cluster.link.dropped", Counter, "{frame}",
			"Frames to other nodes that were not sent, by lane.", "lane"),
		g(telemetry.ClusterLinksDown, "sluice.cluster.links_down", Gauge, "{link}",
			"Lanes to and from the node that are down.", "peer"),
		g(telemetry.ClusterPeerMatch, "sluice.cluster.peer.match_seq", Gauge, "",
			"Last event on the node's disk; 0 unless this node leads.", "peer"),
		g(telemetry.ClusterPeerInMemory, "sluice.cluster.peer.in_memory_seq", Gauge, "",
			"Last event in the node's memory; 0 unless this node leads.", "peer"),
		g(telemetry.ClusterPeerLag, "sluice.cluster.peer.lag_events", Gauge, "{event}",
			"Events by which the node's disk is behind that of this node; 0 unless this one leads.", "peer"),
		g(telemetry.ClusterPeerSilent, "sluice.cluster.peer.silent", Gauge, "s",
			"Time since the node's last message, at most that of this leadership; 0 unless this node leads.", "peer"),
	}
}
