package actors

import (
	"sync/atomic"
	"testing"
	"time"

	"sluice/actors/internal/shard"
	"sluice/durability"
	"sluice/telemetry"
	"sluice/transport"
)

// sum collects what all actors of the bench measured.
func (s *bench) sum() *telemetry.Totals {
	s.total(0)
	return s.Collector().Sum()
}

// The stages of responses add up to the whole, to the nanosecond, and each takes some time (R37).
func TestStagesAddUpToTheWhole(t *testing.T) {
	const conns, batch, rounds = 16, 64, 50
	s := newBench(t, conns, 1)
	for range rounds {
		s.fill(batch, conns, 64)
		s.cursors.SetPersisted(durability.Seq(s.seq))
		now := s.Now()
		for live, work := s.actors, 1; work > 0; {
			live, work, now = s.runner.Round(live, now)
		}
	}
	sum := s.sum()
	parts, whole := uint64(0), &sum.H[telemetry.StageWhole]
	for _, stage := range []telemetry.Stage{
		telemetry.StageMatch, telemetry.StageHandoff, telemetry.StageGate, telemetry.StageEncode,
		telemetry.StageQueue, telemetry.StageBatch, telemetry.StageSend,
	} {
		h := &sum.H[stage]
		parts += h.Sum
		if h.Count != whole.Count {
			t.Errorf("%s has %d responses, the whole %d", stage.Name(), h.Count, whole.Count)
		}
	}
	if parts != whole.Sum || whole.Count != batch*rounds {
		t.Errorf("stages add up to %d ns, the whole of %d responses is %d ns", parts, whole.Count,
			whole.Sum)
	}
	for _, stage := range []telemetry.Stage{telemetry.StageEncode, telemetry.StageBatch,
		telemetry.StageSend} {
		if sum.H[stage].Sum == 0 {
			t.Errorf("%s took no time", stage.Name())
		}
	}
}

// A control frame is not a response: one that is sent before responses does not count in their
// batch.
func TestControlFrameDoesNotTimeTheBatch(t *testing.T) {
	s := newBench(t, 4, 1)
	for range 8 {
		if !s.mail.events.TrySend(shard.Event{Kind: shard.EventBusy, Owed: 1, Conn: 1,
			Hash: transport.Hash(1), Frame: "\x01\x00\x00\x00\x04"}) {
			t.Fatal("the control mailbox is full")
		}
		s.run(16, 4, 64)
	}
	sum := s.sum()
	if n := sum.C[telemetry.EgressBusy]; n != 8 {
		t.Fatalf("%d ServerBusy frames", n)
	}
	if batch, whole := &sum.H[telemetry.StageBatch], &sum.H[telemetry.StageWhole]; batch.Count != 8*16 || batch.Sum > whole.Sum {
		t.Errorf("%d responses were %v in a batch and %v in all", batch.Count,
			time.Duration(batch.Sum), time.Duration(whole.Sum))
	}
}

// What the rules select at the gate is traced, and nothing else, although the gate first asks with
// a shorter check.
func TestGateTracesWhatTheRulesSelect(t *testing.T) {
	const conns, slots = 4, 64
	left := new(atomic.Int64)
	for _, tt := range []struct {
		name  string
		rules telemetry.Rules
		want  uint64
	}{
		{"nothing", telemetry.NewRules(0, 0), 0},
		{"all", telemetry.NewRules(1, 0), slots},
		{"five of a connection", telemetry.Rules{DebugConn: 3, DebugLeft: left}, 5},
	} {
		s := newBench(t, conns, 1)
		left.Store(5)
		s.Sampler().Set(tt.rules)
		s.run(slots, conns, 64)
		if got := s.total(telemetry.TracesTaken) + s.total(telemetry.TracesDropped); got != tt.want {
			t.Errorf("%s: %d traces of %d slots, want %d", tt.name, got, slots, tt.want)
		}
	}
}
