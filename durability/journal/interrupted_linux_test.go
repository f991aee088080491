package journal

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A signal interrupts each sync of a lifetime with rollovers, one at a time, that of a segment without
// its name included: what is committed afterwards is found by a restart.
func TestInterruptedSyncsOfRollovers(t *testing.T) {
	f := &failures{t: t, folder: fastFolder(t), ended: make(chan bool)}
	defer f.stop()
	used := f.bases()[1]
	before := used.known.acked
	var syncs, unnamed []int
	f.look = func(c syscallSeen) {
		switch {
		case c.name != "fdatasync" || f.oracle.acked == before: // while the journal is opened, it is an error
		case strings.HasSuffix(c.path, ".tmp"):
			unnamed = append(unnamed, f.calls)
		default:
			syncs = append(syncs, f.calls)
		}
	}
	if _, err := f.live(0, 0, used); err != nil {
		t.Fatal(err)
	}
	f.look = nil
	if len(unnamed) == 0 || len(syncs) < 3 {
		t.Fatalf("%d and %d syncs: the test is meant to meet rollovers", len(syncs), len(unnamed))
	}
	for _, n := range slices.Concat(unnamed, syncs[len(syncs)-3:]) {
		if reached, err := f.live(n, unix.EINTR, used); err != nil || !reached {
			t.Errorf("call %d (%s %s): %v", n, f.failed.name, f.failed.path, err)
		}
		if f.failed.name == "fdatasync" && f.oracle.ended != "closed" {
			t.Errorf("call %d (%s): the lifetime ended with %q", n, f.failed.path, f.oracle.ended)
		}
	}
}
