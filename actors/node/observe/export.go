package observe

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sluice"
	"sluice/actors"
	"sluice/actors/node"
	"sluice/telemetry/otel"
	"sluice/transport"
)

// exportOf completes the configuration of the export with what the node has.
func exportOf(n node.Running, c otel.Config) otel.Config {
	c.Collector, c.Clock, c.Boxes = n.Collector(), n.Clock(), n.Traces()
	if c.Build == nil {
		b := sluice.ReadBuild()
		c.Build = map[string]string{"version": b.Version, "revision": b.Commit, "goversion": b.Go,
			"engines": strings.Join(transport.Engines(), ",")}
	}
	id := instanceID(n.DataDir())
	if c.InstanceID == "" {
		c.InstanceID = id
	}
	if m, ok := n.(node.Clustered); ok {
		if c.ClusterID == "" {
			c.ClusterID = m.Cluster().ID // the same on all nodes
		}
		c.Voters = func(event uint64) (all []otel.Voter) {
			for _, v := range m.Voters(event) {
				all = append(all, otel.Voter{Node: uint64(v.Node), At: v.At})
			}
			return all
		}
	}
	if c.ClusterID == "" { // a node without replicas is a cluster by itself
		c.ClusterID = id
	}
	if c.KindName == nil {
		c.KindName = kindName
	}
	if c.PolicyName == nil {
		c.PolicyName = func(uint8) string { return policyName(n) }
	}
	return c
}

// instanceID names the node of a data directory by host and path. One process at a time has it, and
// it is the same after a restart.
func instanceID(dataDir string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	if full, err := filepath.Abs(dataDir); err == nil {
		dataDir = full
	}
	return host + ":" + dataDir
}

// policyName names the policy in force in traces. These are made some milliseconds after their
// responses left, so a response of the moment of a swap may be attributed to the policy after it.
func policyName(n node.Running) string {
	p := n.Policy().Current()
	if p.Name() != "" {
		return p.Name()
	}
	return p.String()
}

// kindName names a slot's kind in traces.
func kindName(kind uint8) string {
	switch actors.Kind(kind) {
	case actors.KindReport:
		return "report"
	case actors.KindQuery:
		return "query"
	case actors.KindEngineError:
		return "engine_error"
	case actors.KindBatchEnd:
		return "batch_end"
	case actors.KindTopic:
		return "topic"
	case actors.KindSnapshotBegin:
		return "snapshot_begin"
	case actors.KindSnapshotEnd:
		return "snapshot_end"
	}
	return fmt.Sprint(kind)
}
