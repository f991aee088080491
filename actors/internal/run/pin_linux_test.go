package run

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// The thread of a pinned group may use all its CPUs again before another goroutine gets it.
func TestPinEndsWithGroup(t *testing.T) {
	runtime.LockOSThread() // the test looks at the thread afterwards
	defer runtime.UnlockOSThread()
	mask := func() (set unix.CPUSet) {
		if err := unix.SchedGetaffinity(0, &set); err != nil {
			t.Fatal(err)
		}
		return set
	}
	before := mask()
	if before.Count() == 1 {
		t.Skip("needs two CPUs that this process may use")
	}
	cpu := 0
	for !before.IsSet(cpu) {
		cpu++
	}
	var during unix.CPUSet
	g := NewGroup("pinned", NewSpin(), &scripted{name: "a", done: func() bool { during = mask(); return true }})
	g.Lock, g.CPU = true, cpu
	NewRunner(func() int64 { return 0 }, nil, g).run(g)
	if during.Count() != 1 || !during.IsSet(cpu) {
		t.Errorf("the group runs on CPUs %s, want %d", list(&during), cpu)
	}
	if after := mask(); after != before {
		t.Errorf("the thread has CPUs %s afterwards, want %s", list(&after), list(&before))
	}
}
