package top

import (
	"strings"
	"testing"

	"sluice/actors/node"
)

func TestFrameShowsTheCluster(t *testing.T) {
	s := exampleSnapshot()
	if text := strings.Join(bare(t, s, Frame{Width: 200}), "\n"); strings.Contains(text, "term") {
		t.Errorf("a single node has a cluster:\n%s", text)
	}
	s.Cluster = &node.Cluster{Node: 2, State: node.MemberLeads, Term: 41, Leader: 2, Since: 5, Class: "committed",
		Members: []node.ClusterMember{
			{Node: 1, State: node.MemberFollows, Lag: new(uint64(3)), Link: "up"},
			{Node: 2, State: node.MemberLeads, Disk: new(0.25)},
			{Node: 3, State: node.MemberSilent, Lag: new(uint64(9)), Link: "control to it is down"},
		}}
	text := strings.Join(bare(t, s, Frame{Width: 300}), "\n")
	for _, want := range []string{"node 2: leader, term 41, leader 2 for ", "class committed", "node 1 follower, lag 3; its disk ",
		"node 3 silent, lag 9, control to it is down"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, f := range []Frame{{80, 23, true}, {60, 10, false}} {
		if lines := bare(t, s, f); len(lines) > f.Height {
			t.Errorf("%+v: %d lines", f, len(lines))
		}
	}
}
