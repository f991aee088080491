package trials

import (
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// All faults, mixed: nothing that was acknowledged is lost or contradicted, and the cluster goes on soon
// after each. In continuous integration, two of each kind. MIXED=2h goes on for that time, MIXED_SEED=7
// repeats the faults of the seed that a failure names.
func TestClusterMixed(t *testing.T) {
	const roundsOfEra = 4 // with the same directories
	program, election, longest := buildProgram(t), time.Second, 10*time.Second
	length, seed := given(t)
	switch {
	case length > 0:
	case os.Getenv("SLUICE_SOAK") != "":
		length = 15 * time.Minute
	default:
		election, longest = 500*time.Millisecond, time.Second
	}
	sum, began := newToll(), time.Now()
	for era := uint64(0); era == 0 || time.Since(began) < length; era++ {
		t.Run("", func(t *testing.T) {
			a := newAttack(t, program, seed+era, election, longest, sum)
			kinds := faults()
			if err := a.underKernels(); err != nil {
				t.Logf("without faults of disks and clocks: %v", err)
				kinds = slices.DeleteFunc(kinds, func(f *fault) bool { return f.kernel })
			}
			for round := 0; round == 0 || round < roundsOfEra && time.Since(began) < length; round++ {
				a.round(a.draw(scale(1, 2, 2), kinds))
				t.Logf("%v: seed %d: %v", time.Since(began).Round(time.Second), seed+era, sum)
			}
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%v from seed %d: %v", time.Since(began).Round(time.Second), seed, sum)
}

// given is the time of MIXED, 0 by default, and the seed of MIXED_SEED, or one from the clock.
func given(t testing.TB) (length time.Duration, seed uint64) {
	t.Helper()
	var err error
	if s := os.Getenv("MIXED"); s != "" {
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatalf("MIXED: %v", err)
		}
	}
	s := os.Getenv("MIXED_SEED")
	if s == "" {
		return length, uint64(time.Now().UnixNano())
	}
	if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
		t.Fatalf("MIXED_SEED: %v", err)
	}
	return length, seed
}

// A node, be it the leader or not, is killed and starts again.
func TestClusterKill(t *testing.T) { attacked(t, 3*time.Second, "kill", "kill several") }

// A node is stopped with SIGSTOP and continues.
func TestClusterPause(t *testing.T) { attacked(t, 10*time.Second, "pause") }

// The network between the nodes loses everything, in one direction or both, is slow, breaks connections, and
// lets what was sent on earlier connections arrive together with what is sent on later ones.
func TestClusterPartition(t *testing.T) {
	attacked(t, 10*time.Second, "partition", "partition one way", "delay", "cut connections", "reordered connections")
}

// One node after the other ends in order and starts again; the leadership is handed over.
func TestClusterRestart(t *testing.T) { attacked(t, 0, "rolling restart", "transfer") }

// A fourth node is added under load, promoted, killed, replaced, takes the place of another one and is removed,
// while other faults come and go.
func TestClusterMembership(t *testing.T) {
	attacked(t, 3*time.Second, "membership", "kill", "partition")
}

// The disk of a node hangs, and goes on.
func TestClusterDiskHangs(t *testing.T) {
	attacked(t, 3*time.Second, "hung disk", "hung disk of the leader")
}

// Writes to the disk of a node fail, or find no room. Its process ends, and does not start before that is over.
func TestClusterDiskFails(t *testing.T) { attacked(t, time.Second, "failing disk", "full disk") }

// A node loses its data, and is started on a new directory under its old id: it is refused until it is replaced.
func TestClusterDiskLost(t *testing.T) { attacked(t, time.Second, "lost disk made anew") }

// The wall clock of a node is hours ahead or behind, and jumps.
func TestClusterWrongClock(t *testing.T) { attacked(t, 3*time.Second, "wrong clock") }

// attacked puts three nodes under faults of some kinds, two of each in continuous integration.
func attacked(t *testing.T, longest time.Duration, names ...string) {
	t.Helper()
	const batch = 15 // of each kind, with the same directories: a number is given to 16
	count := scale(1, 2, 100)
	if count < batch {
		longest = min(longest, time.Second)
	}
	program, sum := buildProgram(t), newToll()
	_, seed := given(t)
	for done := 0; done < count; done += batch {
		t.Run("", func(t *testing.T) {
			a := newAttack(t, program, seed+uint64(done), 500*time.Millisecond, longest, sum)
			if slices.ContainsFunc(kinds(names...), func(f *fault) bool { return f.kernel }) {
				if err := a.underKernels(); err != nil {
					t.Skip(err)
				}
			}
			a.round(a.draw(min(batch, count-done), kinds(names...)))
			t.Logf("seed %d: %v", seed+uint64(done), sum)
		})
	}
}
