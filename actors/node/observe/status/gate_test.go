package status

import (
	"strings"
	"testing"
	"time"

	"sluice/actors"
	"sluice/actors/node"
	"sluice/durability"
)

// shut is a node whose gate holds a slot back.
type shut struct {
	node.Running
	wait    actors.Wait
	cursors *durability.Cursors
}

func (s *shut) Waiting() (actors.Wait, bool) { return s.wait, true }
func (s *shut) View(v *durability.View) bool { return s.cursors.Snapshot(v) }
func (s *shut) Policy() *durability.Switch   { return durability.NewSwitch(durability.Local()) }

func TestGateSaysWhatItWaitsFor(t *testing.T) {
	const lead, disk = "a majority to confirm that this node still leads", "waits for journal"
	for _, c := range []struct {
		wait  actors.Wait
		has   []string
		lacks string
	}{
		{actors.Wait{Seq: 3, For: time.Millisecond}, []string{disk}, lead},
		{actors.Wait{Seq: 3, For: time.Minute, Proof: true}, []string{lead, disk}, "passes"},
		{actors.Wait{Seq: 2, For: time.Minute, Proof: true}, []string{lead}, disk},
	} {
		s := &shut{wait: c.wait, cursors: durability.NewCursors(0)}
		s.cursors.SetPersisted(2)
		g := ReadGate(s)
		for _, want := range c.has {
			if !strings.Contains(g.Why, want) {
				t.Errorf("%+v: %q does not say %q", c.wait, g.Why, want)
			}
		}
		if strings.Contains(g.Why, c.lacks) {
			t.Errorf("%+v: %q says %q", c.wait, g.Why, c.lacks)
		}
		if g.Wedged != (c.wait.For > WedgedFor) || g.Event != uint64(c.wait.Seq) {
			t.Errorf("%+v is reported as %+v", c.wait, g)
		}
	}
}
