package telemetry

// describeClusterGauges describes the gauges of a member of a cluster.
func describeClusterGauges(t *[NumGauges]Info) {
	describe := func(id GaugeID, name, label, unit, help string) { t[id] = Info{name, label, "", unit, help} }
	describe(ClusterTerm, "cluster_term", "", "", "Term of the log, which rises with each election.")
	describe(ClusterLeader, "cluster_leader", "", "", "Number of the node that leads; 0 while none is known.")
	describe(ClusterLeads, "cluster_leads", "", "", "1 while this node leads and serves clients.")
	describe(ClusterLeaderChanges, "cluster_leader_changes", "", "changes",
		"Times another node led, or none, in this run.")
	describe(ClusterLeaderless, "cluster_leaderless_seconds", "", "s", "Time without a known leader in this run.")
	describe(ClusterCommitted, "cluster_commit_seq", "", "", "Last event that this node knows to be committed.")
	describe(ClusterApplied, "cluster_applied_seq", "", "", "Last committed event that this node has applied.")
	describe(ClusterLag, "cluster_lag_events", "", "events",
		"Events that are committed and that this node has not applied, about.")
	describe(ClusterPolicyClass, "cluster_policy_class", "", "",
		"Class of the policy: 3 committed, 2 crash-safe, 1 exposed.")
	describe(ClusterDiskSlowest, "cluster_disk_slowest", "", "s",
		"Slowest write of the log of the last second or two, including one under way.")
	describe(ClusterRebuilds, "cluster_rebuilds", "", "rebuilds",
		"Times the state was rebuilt because it was ahead of the log, in this run.")
	describe(ClusterReplaced, "cluster_replaced_events", "", "events",
		"Events of this node's log that another leader's replaced, in this run: some may have been acknowledged "+
			"under a policy that is not of class committed.")
	describe(ClusterSnapshots, "cluster_snapshots", "outcome", "snapshots",
		"Snapshots sent to other nodes and received, by outcome, in this run.")
	describe(ClusterSnapshotsUnderWay, "cluster_snapshots_under_way", "state", "snapshots",
		"Snapshots on their way to other nodes (sending) and from them (receiving).")
	describe(ClusterLogSize, "cluster_log_size", "", "bytes",
		"Entries of the log in memory: those since the snapshot before the newest one.")
	describe(ClusterLinkWaiting, "cluster_link_waiting", "lane", "bytes",
		"Frames that wait to be sent to other nodes, by lane.")
	describe(ClusterLinkDropped, "cluster_link_dropped", "lane", "frames",
		"Frames to other nodes that were not sent, by lane, in this run.")
	describe(ClusterLinksDown, "cluster_links_down", "peer", "links", "Lanes to and from the node that are down.")
	describe(ClusterPeerMatch, "cluster_peer_match_seq", "peer", "",
		"Last event on the node's disk; 0 unless this node leads.")
	describe(ClusterPeerInMemory, "cluster_peer_in_memory_seq", "peer", "",
		"Last event in the node's memory; 0 unless this node leads.")
	describe(ClusterPeerLag, "cluster_peer_lag_events", "peer", "events",
		"Events by which the node's disk is behind that of this node; 0 unless this one leads.")
	describe(ClusterPeerSilent, "cluster_peer_silent", "peer", "s",
		"Time since the node's last message, at most that of this leadership; 0 unless this node leads.")
}
