package sequencer

import "time"

// clockTolerance is how far the wall clock may be from the time of the last event plus what has
// passed since then. Beyond it, the wall clock has jumped.
const clockTolerance = int64(time.Second)

// clock makes the time of events, which never falls.
//
//	wall clock within a second of the expected time:  time = wall, or the last time if that is later
//	it jumped:                                        time = expected time, until it agrees again
//
// The expected time is the last one plus the monotonic time that has passed since.
type clock struct {
	wall func() int64 // ns since 1970
	jump func(wall, expected int64)

	last    int64 // ns since 1970
	at      int64 // monotonic ns, when the time was last
	started bool
	jumped  bool   // the wall clock does not agree
	jumps   uint64 // times it began to disagree
}

// read returns the time at now, monotonic ns. At the first reading, last is the time of the last
// event of an earlier run: a wall clock ahead of it is normal.
func (c *clock) read(now int64) int64 {
	wall := c.wall()
	if !c.started {
		c.started, c.at = true, now
		c.last = max(c.last, wall)
	}
	expected := c.last + max(now-c.at, 0)
	switch off := wall - expected; {
	case off <= clockTolerance && off >= -clockTolerance:
		c.jumped = false
		c.last = max(c.last, wall)
	default:
		if !c.jumped {
			c.jumped = true
			c.jumps++
			if c.jump != nil {
				c.jump(wall, expected)
			}
		}
		c.last = expected
	}
	c.at = now
	return c.last
}
