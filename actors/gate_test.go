package actors

import (
	"testing"
	"time"

	"sluice/actors/internal/run"
	"sluice/durability"
	"sluice/telemetry"
)

func TestGateReleasesExactlyWhatIsDurable(t *testing.T) {
	for _, c := range []struct {
		name    string
		seqs    []durability.Seq
		durable durability.Seq
		want    uint64
	}{
		{"nothing is durable", []durability.Seq{1, 2, 3}, 0, 0},
		{"the head alone", []durability.Seq{1, 2, 3}, 1, 1},
		{"exactly its own seq is enough", []durability.Seq{5}, 5, 1},
		{"one less is not", []durability.Seq{5}, 4, 0},
		{"all outputs of one event", []durability.Seq{1, 1, 1, 2}, 1, 3},
		{"a batch is not judged by its highest", []durability.Seq{1, 2, 9}, 2, 2},
		{"a gap of seqs", []durability.Seq{1, 10, 20}, 15, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTable(t, nil)
			for _, seq := range c.seqs {
				b.say(1, func(s *Slot[tick, struct{}]) { s.Seq = seq })
			}
			b.cursors.SetPersisted(c.durable)
			b.gate.Step(b.now)
			if got := b.gate.slots.Position(); got != c.want {
				t.Errorf("%d slots passed, want %d", got, c.want)
			}
		})
	}
}

func TestGateReadsCursorsOnAMissOnly(t *testing.T) {
	b := newTable(t, nil)
	looks := &lookCounter{Source: b.cursors}
	b.gate.source = looks
	b.cursors.SetPersisted(1000)
	for range 1000 {
		b.say(1, nil)
		b.gate.Step(b.now)
	}
	if looks.n != 1 {
		t.Errorf("%d snapshots for 1000 durable slots, want 1", looks.n)
	}
	b.say(1, nil)
	b.gate.Step(b.now)
	b.gate.Step(b.now)
	if looks.n != 3 {
		t.Errorf("%d snapshots, want one for each step that found the head waiting", looks.n)
	}
}

type lookCounter struct {
	durability.Source
	n int
}

func (l *lookCounter) Snapshot(v *durability.View) bool {
	l.n++
	return l.Source.Snapshot(v)
}

// tornSource is a source whose writers keep moving the cursors.
type tornSource struct{ durability.Source }

func (tornSource) Snapshot(v *durability.View) bool { v.Len = 0; return false }

func TestGateStaysShutWhileWritersKeepMoving(t *testing.T) {
	b := newTable(t, nil)
	whole := b.gate.source
	b.say(1, nil)
	b.persist()
	b.gate.source = tornSource{whole}
	b.gate.Step(b.now)
	if b.gate.slots.Position() != 0 {
		t.Fatal("a torn snapshot opened the gate")
	}
	b.gate.source = whole
	b.gate.Step(b.now)
	if b.gate.slots.Position() != 1 {
		t.Fatal("the gate stayed shut after a whole snapshot")
	}
}

func TestGateRecordsEachWaitWhenItEnds(t *testing.T) {
	b := newTable(t, func(c *Config) { c.Policy = durability.Hybrid() })
	b.cursors.Activate(1, 0, 0)
	for range 5 {
		b.say(1, nil)
	}
	b.gate.Step(b.now)
	b.now += int64(time.Millisecond)
	b.cursors.Advance(1, 100, 0)
	b.gate.Step(b.now)
	h := &b.gate.rec.B.H
	if n, most := waitsOf(h, telemetry.StageReplicaWait); n != 5 || most != time.Millisecond {
		t.Errorf("%d replica waits of up to %v after the replica passed all, want 5 of 1ms", n,
			most)
	}
	b.now += int64(9 * time.Millisecond)
	b.cursors.SetPersisted(100)
	b.gate.Step(b.now)
	if n, most := waitsOf(h, telemetry.StageReplicaWait); n != 5 || most != time.Millisecond {
		t.Errorf("%d replica waits of up to %v in the end, want 5 of 1ms", n, most)
	}
	if n, most := waitsOf(h, telemetry.StageJournalWait); n != 5 || most != 10*time.Millisecond {
		t.Errorf("%d journal waits of up to %v, want 5 of 10ms", n, most)
	}
	if got := b.sum(telemetry.GateOpenedJournal); got != 1 {
		t.Errorf("%d opens by the journal, want 1", got)
	}
}

func TestGateDoesNotCountADepartedReplicaAsCrossed(t *testing.T) {
	b := newTable(t, func(c *Config) { c.Policy = durability.Hybrid() })
	b.cursors.Activate(1, 0, 0)
	b.say(1, nil)
	b.persist()
	b.gate.Step(b.now)
	b.cursors.Deactivate(1)
	b.gate.Step(b.now)
	if n, _ := waitsOf(&b.gate.rec.B.H, telemetry.StageReplicaWait); n != 0 {
		t.Errorf("%d replica waits ended by the replica's end", n)
	}
	if b.gate.slots.Position() != 0 || !b.alarm.Degraded() {
		t.Error("the gate is open, or not degraded, without the replica")
	}
}

// waitsOf returns the number of recorded waits of a stage, and the longest.
func waitsOf(h *[telemetry.NumStages]telemetry.Hist, s telemetry.Stage) (n uint64,
	most time.Duration) {
	rec := telemetry.NewCollector(telemetry.NewClock())
	r := rec.Register("copy", 0)
	r.B.H[s] = h[s]
	r.Park()
	rec.Final()
	total := rec.Sum().H[s]
	return total.Count, time.Duration(total.Max)
}

func TestGateCountsWhatAStopDrops(t *testing.T) {
	b := newTable(t, nil)
	for range 7 {
		b.say(1, nil)
	}
	b.cursors.SetPersisted(3)
	b.gate.Step(b.now)
	b.phase.Advance(run.PhaseStopping, b.now+1)
	if b.gate.Step(b.now) != 0 || !b.gate.Done() {
		t.Error("the gate continues after a stop")
	}
	rec := b.gate.rec.B
	if err := b.gate.Close(); err != nil {
		t.Fatal(err)
	}
	if n := rec.C[telemetry.DropShutdown.Counter()]; n != 4 {
		t.Errorf("%d slots dropped by the stop, want 4", n)
	}
	if n := rec.C[telemetry.GateSlots]; n != 7 {
		t.Errorf("%d slots seen in all, want 7", n)
	}
}

func TestGateCountsSwapsBypassesAndTornSnapshots(t *testing.T) {
	b := newTable(t, nil)
	b.say(1, nil)
	b.say(2, func(s *Slot[tick, struct{}]) { s.Bypass = true })
	b.gate.source = tornSource{b.cursors}
	b.gate.Step(b.now)
	b.gate.source = b.cursors
	b.policy.Swap(&handOver{}, durability.DurablyReplicated())
	b.settle()
	b.policy.Swap(&handOver{}, durability.Local())
	b.persist()
	b.say(2, func(s *Slot[tick, struct{}]) { s.Bypass = true })
	b.settle()
	for c, want := range map[telemetry.Counter]uint64{
		telemetry.GateSwaps: 2, telemetry.GateTorn: 1, telemetry.GateBypassed: 2, telemetry.GateOvertaken: 1, telemetry.GateSlots: 3,
	} {
		if got := b.sum(c); got != want {
			t.Errorf("%s = %d, want %d", c.Info().Name, got, want)
		}
	}
}
