package actors

import (
	"testing"

	"sluice/durability"
)

// TestStepsDoNotAllocate checks I5 for all actors together and each on its own: no allocation per
// slot.
func TestStepsDoNotAllocate(t *testing.T) {
	const conns, batch = 64, 1024
	s := newBench(t, conns, 2)
	for range 8 { // until rings, tables and lists have their final size
		s.run(batch, conns, 64)
	}
	if n := testing.AllocsPerRun(100, func() { s.run(batch, conns, 64) }); n != 0 {
		t.Errorf("%.1f allocations for %d slots through all actors", n, batch)
	}
	for i, a := range s.actors {
		per := testing.AllocsPerRun(50, func() {
			s.fill(batch, conns, 64)
			s.cursors.SetPersisted(durability.Seq(s.seq))
			for _, before := range s.actors[:i] {
				for before.Step(s.Now()) > 0 {
				}
			}
			for a.Step(s.Now()) > 0 {
			}
			for s.step() > 0 {
			}
		})
		if per != 0 {
			t.Errorf("%.1f allocations for %d slots up to %s", per, batch, a.Name())
		}
	}
	if n := testing.AllocsPerRun(100, func() { s.step() }); n != 0 {
		t.Errorf("%.1f allocations in an idle step", n)
	}
}
