package status

import (
	"encoding/json"
	"testing"
	"time"

	"sluice/telemetry"
)

// filled has actors of 8 shards with samples in every stage, as under load.
func filled(b *testing.B) (h *history, record func()) {
	c := telemetry.NewCollector(telemetry.NewClock())
	var all []*telemetry.Recorder
	for i := range 8 {
		all = append(all, c.Register("egress", i))
	}
	all = append(all, c.Register("gate", telemetry.NoShard),
		c.Register("encode", telemetry.NoShard), c.Register("control", telemetry.NoShard))
	at := int64(0)
	record = func() {
		at += 1e9
		for _, r := range all {
			r.Unpark()
			for s := range r.B.H {
				for v := uint64(1000); v < 1e9; v += v / 8 {
					r.B.H[s].Record(v)
				}
			}
			r.Park()
		}
	}
	for _, r := range all {
		r.Park()
	}
	return newHistory(c, func() int64 { return at }, time.Now), record
}

// BenchmarkTake measures a second without readers.
func BenchmarkTake(b *testing.B) {
	h, record := filled(b)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		record()
		b.StartTimer()
		h.take()
	}
}

// BenchmarkRead measures a reader, without the list of clients: stages with the newest point, or
// with all.
func BenchmarkRead(b *testing.B) {
	h, record := filled(b)
	for range Kept {
		record()
		h.take()
	}
	for _, bb := range []struct {
		name  string
		after uint64
	}{{"the newest", Kept - 1}, {"all", 0}} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				s := Snapshot{Points: h.after(bb.after)}
				s.Stages, s.Seconds = h.stages()
				text, err := json.Marshal(&s)
				if err != nil {
					b.Fatal(err)
				}
				size = len(text)
			}
			b.ReportMetric(float64(size), "B/answer")
		})
	}
}
