package otel

import (
	"time"

	"sluice/telemetry"
)

// anchor converts stamps of the monotonic clock to wall-clock time. All spans of a trace use the same
// offset, so their durations are exact. The offset is renewed once a second, because the wall clock
// can be stepped. The trace goroutine owns it.
type anchor struct {
	clock  telemetry.Clock
	offset int64 // ns of wall clock at stamp 0
	taken  int64 // stamp of the last sync
}

func newAnchor(clock telemetry.Clock) *anchor {
	a := &anchor{clock: clock}
	a.sync()
	return a
}

// sync reads the wall clock between two reads of the monotonic clock, 8 times, and keeps the offset of
// the attempt with the shortest interval.
func (a *anchor) sync() {
	closest := int64(1<<63 - 1)
	for range 8 {
		before := a.clock.Now()
		wall := time.Now().UnixNano()
		after := a.clock.Now()
		if d := after - before; d < closest {
			closest, a.offset = d, wall-before-d/2
		}
	}
	a.taken = a.clock.Now()
}

// refresh calls sync if the last one is more than a second ago.
func (a *anchor) refresh(now int64) {
	if now-a.taken > int64(anchorEvery) {
		a.sync()
	}
}

func (a *anchor) wall(stamp int64) time.Time { return time.Unix(0, a.offset+stamp) }
