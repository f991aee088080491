package journal

import (
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
	// interrupt interrupts the nth sync of a lifetime of either kind. The next segment is made beside the
	// commits, so their order differs from one lifetime to the next.
	interrupt := func(n int, ofUnnamed bool) (syncs int) {
		f.look = func(c syscallSeen) {
			if c.name != "fdatasync" || f.oracle.acked == before { // while the journal is opened, it is an error
				return
			}
			if strings.HasSuffix(c.path, ".tmp") != ofUnnamed {
				return
			}
			if syncs++; syncs == n {
				f.failAt = f.calls
			}
		}
		if _, err := f.live(0, unix.EINTR, used); err != nil {
			t.Errorf("sync %d (%s %s): %v", n, f.failed.name, f.failed.path, err)
		}
		if f.failed.name == "fdatasync" && f.oracle.ended != "closed" {
			t.Errorf("sync %d (%s): the lifetime ended with %q", n, f.failed.path, f.oracle.ended)
		}
		return syncs
	}
	unnamed, named := interrupt(0, true), interrupt(0, false)
	if unnamed == 0 || named < 3 {
		t.Fatalf("%d and %d syncs: the test is meant to meet rollovers", named, unnamed)
	}
	for n := range unnamed {
		interrupt(n+1, true)
	}
	for n := named - 2; n <= named; n++ {
		interrupt(n, false)
	}
}
