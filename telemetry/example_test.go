package telemetry_test

import (
	"fmt"
	"os"
	"sync/atomic"

	"sluice/telemetry"
)

// One actor records, a collector adds up, and the program prints the totals.
func Example() {
	collector := telemetry.NewCollector(telemetry.NewClock())
	rec := collector.Register("gate", telemetry.NoShard) // before the actor starts

	// The actor's goroutine.
	for slot := range uint64(1000) {
		rec.B.H[telemetry.StageGate].Record(slot)
	}
	rec.B.C[telemetry.GateSlots] += 1000
	rec.B.C[telemetry.DropFenced.Counter()] += 2
	rec.Poll() // every batch
	rec.Park() // before sleeping, and at the end

	// Any other goroutine.
	collector.Final()
	collector.Each(func(t *telemetry.Totals) {
		gate := &t.H[telemetry.StageGate]
		fmt.Println(t.Actor, gate.Count, gate.Quantile(0.5), gate.Max)
	})
	if err := collector.WriteText(os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// gate 1000 499 999
	// stage  count  mean   p50    p90    p99    p99.9  max
	// gate   1000   499ns  499ns  903ns  983ns  999ns  999ns
	//
	// actor  counter                total  unit   meaning
	// gate   gate_slots             1000   slots  Slots released by the gate.
	// gate   dropped reason=fenced  2      slots  Slots that will never be delivered, by reason; slots in = delivered + dropped.
	//
	// actor  high-water mark  highest  unit  meaning
}

// Two slots of one connection are traced on request; the box has room for one.
func ExampleTraceBox() {
	left := new(atomic.Int64)
	left.Store(2)
	sampler := telemetry.NewSampler(telemetry.Rules{DebugConn: 17, DebugLeft: left})
	box := telemetry.NewTraceBox(1)

	rules := sampler.Load() // once per batch
	for seq := range uint64(3) {
		if reason, ok := rules.Head(seq, 17, false); ok {
			rec := telemetry.TraceRec{Received: 100, Seq: seq, Conn: 17, Reason: reason}
			rec.Stamp(telemetry.PointCompleted, 350)
			fmt.Println("seq", seq, "put", box.TryPut(&rec))
		}
	}
	var rec telemetry.TraceRec
	for box.TryGet(&rec) {
		sent, _ := rec.At(telemetry.PointCompleted)
		fmt.Println("seq", rec.Seq, rec.Reason.Name(), sent-rec.Received, "ns")
	}
	fmt.Println("refused", box.Refused())
	// Output:
	// seq 0 put true
	// seq 1 put false
	// seq 0 debug 250 ns
	// refused 1
}
