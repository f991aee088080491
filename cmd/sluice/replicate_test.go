//go:build linux

package main

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// The trace of a response of three nodes has the span replicate, with an event for each of them.
func TestTraceHasAnEventForEachVoter(t *testing.T) {
	in := collecting(t, "http/protobuf")
	var members, clients []string
	for n := range 3 {
		clients = append(clients, freeAddress(t))
		members = append(members, "--member", fmt.Sprintf("%d=%s,%s", n+1, freeAddress(t), clients[n]))
	}
	for n := range 3 {
		dir := filepath.Join(t.TempDir(), "data")
		init := append([]string{"cluster", "init", "--data-dir", dir, "--node", fmt.Sprint(n + 1), "--cluster-id",
			"000102030405060708090a0b0c0d0e0f"}, members...)
		if out, problems, code := local(init...); code != 0 {
			t.Fatalf("%s%s", out, problems)
		}
		start(t, "serve", "--cluster", "--data-dir", dir, "--listen-tcp", clients[n], "--admin-address", "127.0.0.1:0",
			"--trace-ratio", "1", "--election", "5s") // a machine that is busy elects no other leader
	}
	until(t, "a response", func() error {
		if out, code := ask(t, clients[0], "", "buy", "3", "4", "@", "105"); code != 0 {
			return fmt.Errorf("exit code %d: %s", code, out)
		}
		return nil
	})
	limit := time.Now().Add(patience)
	for best := 0; best < 3; {
		if time.Now().After(limit) {
			t.Fatalf("the best trace of %d has events of %d nodes", len(in.trees()), best)
		}
		expect(t, clients[0], 0, "buy 3 4 @ 105")
		for _, spans := range in.trees() {
			for _, s := range spans {
				if s.Name != "replicate" {
					continue
				}
				nodes := map[int64]bool{}
				for _, e := range s.Events {
					nodes[attribute(e.Attributes, "sluice.node.id").GetIntValue()] = true
				}
				best = max(best, len(nodes))
			}
		}
	}
}
