package status

import (
	"testing"

	"sluice/actors/node"
)

func TestFollowerHasTheEventsOfItsLog(t *testing.T) {
	match := uint64(24)
	for _, tt := range []struct {
		name   string
		leader uint8
		want   [2]uint64
	}{{"leads", 2, [2]uint64{7, 6}}, {"follows", 1, [2]uint64{23, 24}}, {"no leader", 0, [2]uint64{23, 24}}} {
		s := Status{Sequenced: 7, Persisted: 6, Cluster: &node.Cluster{Node: 2, Leader: tt.leader, Applied: 23,
			Members: []node.ClusterMember{{Node: 1, Match: new(uint64)}, {Node: 2, Match: &match}}}}
		s.follow()
		if got := [2]uint64{s.Sequenced, s.Persisted}; got != tt.want {
			t.Errorf("%s: sequenced and persisted are %d, want %d", tt.name, got, tt.want)
		}
	}
}
