package cluster

import (
	"flag"
	"testing"

	"sluice/durability/raftlog/raftsim"
)

// The cluster simulator runs whole members on one goroutine, in virtual time, over simulated disks and
// links that fail: the real raftlog.Node, machine, sequencer, gate and order book. Clients send orders
// and queries to whichever node leads, and go elsewhere when it ends. Everything is drawn from a seed.
// Every run ends with all faults off, and must settle. The oracle is in sim_oracle_test.go.
//
//	make sim-cluster SEEDS=3000     many seeds
//	make sim-cluster SEED=42        one seed again
//
// See docs/reliability.md.

var (
	simSeed   = flag.Uint64("seed", 0, "cluster simulator: run this seed alone")
	simSeeds  = flag.Uint64("seeds", 0, "cluster simulator: how many seeds to run, 0 for a short run")
	simFirst  = flag.Uint64("first", 1, "cluster simulator: first seed")
	simSteps  = flag.Int("steps", 6000, "cluster simulator: steps with faults of each seed")
	simPoints = flag.Int("points", 0, "power loss of members: at how many calls, 0 for the usual number")
	simPrint  = flag.Bool("print", false, "cluster simulator: print what members do, for -seed")
)

// simEnough is how many seeds must together show every event of simCounts.
const simEnough = 150

// TestSim runs members and clients in simulated worlds.
func TestSim(t *testing.T) {
	if *simSeed != 0 {
		w := simulate(t, *simSeed, *simSteps)
		t.Logf("seed %d, hash %#016x, policies %v: %+v", *simSeed, w.Hash(), w.policies, w.counts)
		if f := w.Failure(); f != "" {
			t.Fatal(f)
		}
		return
	}
	n := *simSeeds
	if n == 0 {
		n = simEnough
		if testing.Short() {
			n = 15
		}
	}
	var total simCounts
	for seed := *simFirst; seed < *simFirst+n; seed++ {
		w := simulate(t, seed, *simSteps)
		raftsim.AddCounts(&total, w.counts)
		if f := w.Failure(); f != "" {
			t.Fatalf("seed %d: step %d: %s\n\nreplay: make sim-cluster SEED=%d STEPS=%d", seed, w.step, f, seed, *simSteps)
		}
	}
	t.Logf("%d worlds: %+v", n, total)
	if n >= simEnough && *simSteps >= 6000 {
		for _, name := range raftsim.Missing(total) {
			t.Errorf("it never happened: %s", name)
		}
	}
}

// TestSimSameSeedSameRun runs seeds twice.
func TestSimSameSeedSameRun(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		a := simulate(t, seed, 3000)
		b := simulate(t, seed, 3000)
		if a.Hash() != b.Hash() || a.counts != b.counts {
			t.Fatalf("seed %d ran differently the second time: hash %#x and %#x\n%+v\n%+v", seed, a.Hash(),
				b.Hash(), a.counts, b.counts)
		}
	}
}

// simCounts are events that must occur.
type simCounts struct {
	raftsim.Counts
	simOfficeCounts
	simClientCounts
	simTopicCounts
	simChangeCounts
}

// simFileCounts are events of members with real files.
type simFileCounts struct {
	PowerLosses, Stops, Met int
}

// simChangeCounts are events of the membership.
type simChangeCounts struct {
	Changes, ChangesRefused, Joined, Removed, Wiped, Replaced int
	// the voters before a change had less than those after it
	JointLimits int
}

// simOfficeCounts are events of members.
type simOfficeCounts struct {
	Leaderships, EndedEarly, Deposed, LeaderCrashes, LeaderStalls  int
	SuffixesKept, SuffixesLost                                     int // events of a leader that crashed, not committed then
	Rebuilds, TakenOver                                            int // the state after a leadership: rebuilt, or as it was
	Superseded                                                     int // responses that an ended leadership did not release
	Transfers, TransfersRefused, Isolations, Pauses, Panics, Swaps int
	Committed, Released, Checkpoints, Overtaken                    int
	StaleReceipts                                                  int // of ended incarnations
	Contradicted                                                   int // under a policy that allows it
	// worlds in which a node had events that another leader's replaced
	EventsReplaced int
}

// simClientCounts are events of clients.
type simClientCounts struct {
	Connects, Directed, Elsewhere, Broken, Left int // how connections begin and end
	Requests, Repeated, Answered, Refused       int
	Queries, QueriesAnswered, Pushed            int // pushed: reports that no request of the connection caused
}
