package status

import (
	"strings"
	"testing"

	"sluice/actors/node"
)

func TestFollowerHasTheEventsOfItsLog(t *testing.T) {
	match := uint64(24)
	for _, tt := range []struct {
		name   string
		leader uint8
		node   [2]uint64 // what its node says
		want   [2]uint64
	}{
		{"leads", 2, [2]uint64{27, 26}, [2]uint64{27, 26}},
		{"leads and does not serve yet", 2, [2]uint64{0, 0}, [2]uint64{23, 24}},
		{"follows", 1, [2]uint64{27, 26}, [2]uint64{23, 24}},
		{"no leader", 0, [2]uint64{7, 6}, [2]uint64{23, 24}},
	} {
		members := []node.ClusterMember{{Node: 1, Match: new(uint64)}, {Node: 2, Match: &match}}
		s := Status{Sequenced: tt.node[0], Persisted: tt.node[1],
			Cluster: &node.Cluster{Node: 2, Leader: tt.leader, Applied: 23, Members: members}}
		s.follow()
		if got := [2]uint64{s.Sequenced, s.Persisted}; got != tt.want {
			t.Errorf("%s: sequenced and persisted are %d, want %d", tt.name, got, tt.want)
		}
	}
}

// The page of the policy on a member that does not lead says so, and where the leader is.
func TestFollowerShowsWhereThePolicyIsChanged(t *testing.T) {
	for leader, want := range map[uint8]string{
		1: "policy persisted>=2\nclass committed\nnode 2 does not lead; node 1 leads, and shows how far it is met; it is " +
			"changed there (for clients: 10.0.0.1:9876)\n",
		0: "policy persisted>=2\nclass committed\nnode 2 does not lead; no leader is known, so it cannot be changed now\n",
	} {
		s := Status{Policy: "persisted>=2", Cluster: &node.Cluster{Node: 2, Leader: leader, Class: "committed",
			Members: []node.ClusterMember{{Node: 1, Client: "10.0.0.1:9876"}, {Node: 2}}}}
		var b strings.Builder
		if err := s.WritePolicy(&b); err != nil || b.String() != want {
			t.Errorf("%q, %v; want %q", b.String(), err, want)
		}
	}
}
