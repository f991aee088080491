package telemetry

import "testing"

// The count changes with each round, and says whether the loop works.
func TestBeatCountsRounds(t *testing.T) {
	var b Beat
	last := b.Rounds()
	for i, step := range []struct {
		do    func()
		works uint64
	}{{b.Begin, 1}, {b.End, 0}, {b.Begin, 1}, {b.Begin, 1}, {b.End, 0}, {b.Begin, 1}} {
		step.do()
		if n := b.Rounds(); n <= last || n&1 != step.works {
			t.Fatalf("step %d: %d follows %d", i, n, last)
		}
		last = b.Rounds()
	}
	if b.End(); b.Rounds() != last+1 {
		t.Errorf("end: %d", b.Rounds())
	}
	if b.End(); b.Rounds() != last+1 {
		t.Error("a second end is another round")
	}
}

// A round of a loop that is watched.
func BenchmarkBeat(b *testing.B) {
	var beat Beat
	for b.Loop() {
		beat.Begin()
		beat.End()
	}
}
