package actors

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"testing"

	"sluice/transport"
)

// simStats counts what happened; a class that never happens over many seeds fails the run.
type simStats struct {
	Steps, Slots, Sent, Overtaken, Connects, Reuses, Refused, HalfCloses, Vanishes, Resets, Kicks, Busies, Answers uint64
	Swaps, Flaps, OlderTails, Stalls, Torn, EncodeErrors, EncodePanics, EncodeLarge, BudgetCloses, Orphan          uint64
	Drains, Stops, Fences, EndsEarly, InDoubt, Farewells, Elsewhere, AllAnswered, Heartbeats, Parks, Naps, Starved uint64
	Departs, Lists, Reloads, Traced, ControlFull, SlowHard, SlowSoft, Stalled                                      uint64
	Tickets, Unproven, BarriersFull, Runs, RunsFailed, RowsInterrupted                                             uint64

	Topic topicStats
	Seal  sealStats
	Ring  transport.FaultCounts

	// The longest times, in steps' nanoseconds.
	HealthyWait, Settle, End, Silence int64
}

func (s *simStats) add(o *simStats) {
	sum := s.fields()
	for i, v := range o.fields() {
		*sum[i].n += *v.n
	}
	s.HealthyWait, s.Settle, s.End = max(s.HealthyWait, o.HealthyWait), max(s.Settle,
		o.Settle), max(s.End, o.End)
	s.Silence = max(s.Silence, o.Silence)
}

type namedCount struct {
	name  string
	n     *uint64
	fault bool // injected: counts as a fault
}

func (s *simStats) fields() []namedCount {
	r := &s.Ring
	return slices.Concat([]namedCount{
		{"Steps", &s.Steps, false}, {"Slots", &s.Slots, false}, {"Sent", &s.Sent, false},
		{"Overtaken", &s.Overtaken, false},
		{"Connects", &s.Connects, false}, {"Reuses", &s.Reuses, true},
		{"Refused", &s.Refused, false},
		{"HalfCloses", &s.HalfCloses, true}, {"Vanishes", &s.Vanishes, true},
		{"Resets", &s.Resets, true}, {"Kicks", &s.Kicks, true},
		{"Busies", &s.Busies, false}, {"Answers", &s.Answers, false}, {"Swaps", &s.Swaps, true},
		{"Flaps", &s.Flaps, true},
		{"OlderTails", &s.OlderTails, true}, {"Stalls", &s.Stalls, true}, {"Torn", &s.Torn, true},
		{"EncodeErrors", &s.EncodeErrors, true}, {"EncodePanics", &s.EncodePanics, true},
		{"EncodeLarge", &s.EncodeLarge, true},
		{"SlowHard", &s.SlowHard, false}, {"SlowSoft", &s.SlowSoft, false},
		{"Stalled", &s.Stalled, false}, {"BudgetCloses", &s.BudgetCloses, false},
		{"Orphans", &s.Orphan, false},
		{"Drains", &s.Drains, false}, {"Stops", &s.Stops, false}, {"Fences", &s.Fences, false},
		{"EndsEarly", &s.EndsEarly, false},
		{"InDoubt", &s.InDoubt, false}, {"Farewells", &s.Farewells, false}, {"Elsewhere", &s.Elsewhere, false},
		{"AllAnswered", &s.AllAnswered, false}, {"Heartbeats", &s.Heartbeats, false},
		{"Parks", &s.Parks, false}, {"Naps", &s.Naps, false}, {"Starved", &s.Starved, true},
		{"Departs", &s.Departs, true}, {"Lists", &s.Lists, false}, {"Reloads", &s.Reloads, true},
		{"Traced", &s.Traced, false},
		{"Tickets", &s.Tickets, false}, {"Unproven", &s.Unproven, false}, {"BarriersFull", &s.BarriersFull, false},
		{"Runs", &s.Runs, false}, {"RunsFailed", &s.RunsFailed, false},
		{"RowsInterrupted", &s.RowsInterrupted, false},
		{"ControlFull", &s.ControlFull, true},
		{"ShortSend", &r.ShortSend, true}, {"Again", &r.Again, true},
		{"Interrupted", &r.Interrupted, true},
		{"NoBuffers", &r.NoBuffers, true}, {"NoMemory", &r.NoMemory, true},
		{"Reset", &r.Reset, true}, {"Pipe", &r.Pipe, true},
		{"LateSend", &r.LateSend, true}, {"LatePoll", &r.LatePoll, true},
		{"LostPoll", &r.LostPoll, true},
		{"StuckSend", &r.StuckSend, true}, {"StuckPoll", &r.StuckPoll, true},
		{"Reorder", &r.Reorder, true},
		{"PartialSubmit", &r.PartialSubmit, true}, {"SignalSubmit", &r.SignalSubmit, true},
		{"Doubt", &r.Doubt, true},
		{"QueueFilled", &r.QueueFilled, true}, {"Overflow", &r.Overflow, true},
	}, s.Topic.fields(), s.Seal.fields())
}

// Faults is the number of injected faults of all classes.
func (s *simStats) Faults() (n uint64) {
	for _, v := range s.fields() {
		if v.fault {
			n += *v.n
		}
	}
	return n
}

// String lists every count.
func (s *simStats) String() string {
	var b strings.Builder
	for _, v := range s.fields() {
		fmt.Fprintf(&b, "%s %d, ", v.name, *v.n)
	}
	fmt.Fprintf(&b, "longest: healthy wait %d ns, settling %d ns, end %d ns, silence %d ns",
		s.HealthyWait, s.Settle, s.End, s.Silence)
	return b.String()
}

func (s *simStats) allHappened(t *testing.T) {
	t.Helper()
	for _, v := range s.fields() {
		if *v.n == 0 {
			t.Errorf("%s never happened: this run tested less than it claims", v.name)
		}
	}
}

// simRand is a generator that costs a nanosecond (wyrand); all drawing of a world goes through one.
type simRand uint64

func (r *simRand) uint64() uint64 {
	*r += 0xa0761d6478bd642f
	hi, lo := bits.Mul64(uint64(*r), uint64(*r)^0xe7037ed1a0b428db)
	return hi ^ lo
}

// n returns 0..n-1.
func (r *simRand) n(n int) int {
	hi, _ := bits.Mul64(r.uint64(), uint64(n))
	return int(hi)
}

func (r *simRand) oneIn(n int) bool { return n > 0 && r.n(n) == 0 }
func (r *simRand) pct(n int) bool   { return n > 0 && r.n(100) < n }

func pick[T any](r *simRand, of ...T) T { return of[r.n(len(of))] }
