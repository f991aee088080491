package raftlog

import (
	"flag"
	"testing"
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
		total.add(w.counts)
		if w.failure != "" {
			t.Fatalf("seed %d, step %d: %s\n\nreplay: go test ./durability/raftlog -run TestEngine -raft-seed %d",
				seed, w.step, w.failure, seed)
		}
	}
	t.Logf("%d worlds: %+v", last-first+1, total)
	if *simSeed == 0 && *simSeeds >= 150 {
		for _, name := range total.missing() {
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
	if a.counts != b.counts || a.hash != b.hash {
		t.Errorf("seed 5 gave %+v, then %+v", a.counts, b.counts)
	}
}

// simCounts are the events that must occur.
type simCounts struct {
	Crashes, LeaderCrashes, Leaderships, Deposed, Rollbacks, Settled, Transfers                 int
	Truncations, Receipts, OldReceipts, Acked, Committed, Dropped, Duplicated, Lost, Cuts, Held int
	StaleIncarnations, WonBeforeSync, Reads, DiskStalls, Poisoned, Snapshots, Received          int
}

func (c *simCounts) add(o simCounts) {
	a, b := c.fields(), o.fields()
	for i := range a {
		*a[i].n += *b[i].n
	}
}

type simField struct {
	name string
	n    *int
}

func (c *simCounts) fields() []simField {
	return []simField{{"Crashes", &c.Crashes}, {"LeaderCrashes", &c.LeaderCrashes}, {"Leaderships", &c.Leaderships},
		{"Deposed", &c.Deposed}, {"Rollbacks", &c.Rollbacks}, {"Settled", &c.Settled}, {"Transfers", &c.Transfers},
		{"Truncations", &c.Truncations}, {"Receipts", &c.Receipts}, {"OldReceipts", &c.OldReceipts}, {"Acked", &c.Acked},
		{"Committed", &c.Committed}, {"Dropped", &c.Dropped}, {"Duplicated", &c.Duplicated}, {"Lost", &c.Lost},
		{"Cuts", &c.Cuts}, {"Held", &c.Held}, {"StaleIncarnations", &c.StaleIncarnations},
		{"WonBeforeSync", &c.WonBeforeSync}, {"Reads", &c.Reads}, {"DiskStalls", &c.DiskStalls}, {"Poisoned", &c.Poisoned}, {"Snapshots", &c.Snapshots}, {"Received", &c.Received}}
}

func (c *simCounts) missing() (names []string) {
	for _, f := range c.fields() {
		if *f.n == 0 {
			names = append(names, f.name)
		}
	}
	return names
}
