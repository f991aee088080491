package journal

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/durability/journal/powerloss"
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
		f.look = func(c powerloss.Call) {
			if c.Name != "fdatasync" || f.oracle.acked == before { // while the journal is opened, it is an error
				return
			}
			if strings.HasSuffix(c.Path, ".tmp") != ofUnnamed {
				return
			}
			if syncs++; syncs == n {
				f.failAt = f.calls
			}
		}
		if _, err := f.live(0, unix.EINTR, used); err != nil {
			t.Errorf("sync %d (%s %s): %v", n, f.failed.Name, f.failed.Path, err)
		}
		if f.failed.Name == "fdatasync" && f.oracle.ended != "closed" {
			t.Errorf("sync %d (%s): the lifetime ended with %q", n, f.failed.Path, f.oracle.ended)
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

// A start makes the names of snapshots durable before it begins with one: a process that was killed may have left a
// name that is in the kernel's memory only.
func TestStartSyncsTheNamesOfSnapshots(t *testing.T) {
	f := &failures{t: t, folder: fastFolder(t), ended: make(chan bool)}
	defer f.stop()
	used := f.bases()[1]
	synced := false
	f.look = func(c powerloss.Call) {
		if f.oracle.inc == used.known.inc && c.Name == "fsync" && strings.HasSuffix(c.Path, "/snap") {
			synced = true
		}
	}
	if _, err := f.live(0, 0, used); err != nil {
		t.Fatal(err)
	}
	if !synced {
		t.Error("the journal was opened, and the directory of its snapshots not synced")
	}
}
