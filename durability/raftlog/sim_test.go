package raftlog_test

import (
	"flag"
	"testing"

	"sluice/durability/raftlog/raftsim"
)

var (
	simSeeds = flag.Uint64("raft-seeds", 150, "worlds of TestEngine")
	simSeed  = flag.Uint64("raft-seed", 0, "one world of TestEngine")
)

// Steps of a world: with faults, and afterwards.
const (
	simSteps = 6000
	simCalm  = 40000
)

// TestEngine runs whole nodes on one goroutine, with disks and links that fail, and compares what they
// keep and release with a list of its own.
func TestEngine(t *testing.T) {
	first, last := uint64(1), *simSeeds
	if *simSeed != 0 {
		first, last = *simSeed, *simSeed
	}
	var total simCounts
	for seed := first; seed <= last; seed++ {
		w := newWorld(t, seed)
		w.run()
		raftsim.AddCounts(&total, w.counts)
		if w.Failure() != "" {
			t.Fatalf("seed %d, step %d: %s\n\nreplay: go test ./durability/raftlog -run TestEngine -raft-seed %d",
				seed, w.step, w.Failure(), seed)
		}
	}
	t.Logf("%d worlds: %+v", last-first+1, total)
	if *simSeed == 0 && *simSeeds >= 150 {
		for _, name := range raftsim.Missing(total) {
			t.Errorf("it never happened: %s", name)
		}
	}
}

// TestEngineRepeats runs a world twice: a seed is a run.
func TestEngineRepeats(t *testing.T) {
	a := newWorld(t, 5)
	a.run()
	b := newWorld(t, 5)
	b.run()
	if a.counts != b.counts || a.Hash() != b.Hash() {
		t.Errorf("seed 5 gave %+v, then %+v", a.counts, b.counts)
	}
}

// simCounts are the events that must occur.
type simCounts struct {
	raftsim.Counts
	LeaderCrashes, Leaderships, Deposed, Rollbacks, Settled, Transfers, Acked, Committed, Cuts, Held, Reads, Pasts int
}
