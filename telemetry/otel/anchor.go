package otel

import (
	"time"

	"sluice/telemetry"
)

// anchor ties stamps of the monotonic clock to the wall clock. One offset is used
// for a whole trace, so that its durations stay exact; a new one is taken now and then,
// because the wall clock can be stepped. The trace goroutine owns it.
type anchor struct {
	clock  telemetry.Clock
	offset int64 // ns of wall clock at stamp 0
	taken  int64 // stamp of the last look
}

func newAnchor(clock telemetry.Clock) *anchor {
	a := &anchor{clock: clock}
	a.sync()
	return a
}

// sync reads the wall clock between two readings of the monotonic one and keeps the
// closest of a few tries.
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

// refresh syncs once a second.
func (a *anchor) refresh(now int64) {
	if now-a.taken > int64(anchorEvery) {
		a.sync()
	}
}

func (a *anchor) wall(stamp int64) time.Time { return time.Unix(0, a.offset+stamp) }
