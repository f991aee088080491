package raftsim_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"testing/cryptotest"

	"sluice/durability/raftlog"
	"sluice/durability/raftlog/raftsim"
)

// Three nodes on simulated machines elect a leader.
func Example() {
	w := raftsim.NewWorld(1)
	w.AddMachines(3, binary.LittleEndian.Uint64, func(*raftsim.Snapshot) []uint64 { return nil })
	for _, m := range w.Machines {
		m.Start(raftlog.Options{})
	}
	w.EndFaults()
	leads := func() bool {
		for _, m := range w.Machines {
			if m.Node.Status().Serving {
				return true
			}
		}
		return false
	}
	for !leads() && w.Failure() == "" {
		w.Pass()
		m := w.Machines[w.R.IntN(3)]
		m.Step()
		m.Disk()
	}
	fmt.Println("a node leads", w.Failure())
	// Output: a node leads
}

// TestSeedIsARun runs the same seed twice.
func TestSeedIsARun(t *testing.T) {
	run := func() (raftsim.Counts, uint64) {
		cryptotest.SetGlobalRandom(t, 7)
		w := raftsim.NewWorld(7)
		w.AddMachines(3, binary.LittleEndian.Uint64, func(*raftsim.Snapshot) []uint64 { return nil })
		for _, m := range w.Machines {
			m.Start(raftlog.Options{})
		}
		for range 5000 {
			w.Pass()
			m := w.Machines[w.R.IntN(3)]
			m.Step()
			m.Disk()
			w.Note(m.Node.Status().Term)
		}
		if w.Failure() != "" {
			t.Fatal(w.Failure())
		}
		return w.Counts, w.Hash()
	}
	counts, hash := run()
	again, hashAgain := run()
	if counts != again || hash != hashAgain || counts.Lost == 0 {
		t.Errorf("seed 7 gave %+v, then %+v", counts, again)
	}
}
