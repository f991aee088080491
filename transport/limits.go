package transport

import (
	"fmt"
	"time"
)

// Limits bound what one connection may hold back before it is called slow (R23). HardBytes is
// judged on append, the others on a timer; none is judged only on a path that the slow peer itself can block.
type Limits struct {
	HardBytes  int           // unsent bytes that end the connection at once
	SoftBytes  int           // unsent bytes that end it when held for SoftFor
	SoftFor    time.Duration // how long SoftBytes may be exceeded
	NoProgress time.Duration // how long a blocked connection's peer may take nothing
}

// DefaultLimits returns 1 MiB hard, 256 KiB for 2 s soft, and 5 s without progress.
func DefaultLimits() Limits {
	return Limits{HardBytes: 1 << 20, SoftBytes: 256 << 10, SoftFor: 2 * time.Second, NoProgress: 5 * time.Second}
}

// Validate reports the first limit that cannot work, given the largest frame (bytes) and the largest buffer
// block a connection can get (bytes).
func (l Limits) Validate(maxFrame, maxBlock int) error {
	switch {
	case l.HardBytes < maxFrame:
		return fmt.Errorf("transport: hard limit %d B is below the largest frame %d B; raise it to at least one frame", l.HardBytes, maxFrame)
	case l.HardBytes > maxBlock:
		return fmt.Errorf("transport: hard limit %d B is above the largest buffer block %d B; lower it or raise the slab segment", l.HardBytes, maxBlock)
	case l.SoftBytes <= 0 || l.SoftBytes > l.HardBytes:
		return fmt.Errorf("transport: soft limit %d B must lie in 1..%d B (the hard limit)", l.SoftBytes, l.HardBytes)
	case l.SoftFor <= 0:
		return fmt.Errorf("transport: soft limit duration %v must be positive", l.SoftFor)
	case l.NoProgress <= 0:
		return fmt.Errorf("transport: no-progress duration %v must be positive", l.NoProgress)
	}
	return nil
}

// Check says whether the connection has to end at now (monotonic ns), and why. It is a pure function of the
// connection's state: the caller decides when to ask.
func (l *Limits) Check(c *Conn, now int64) Reason {
	switch {
	case c.Unsent() > l.HardBytes:
		return ReasonSlowHard
	case c.softSince != 0 && now-c.softSince >= int64(l.SoftFor):
		return ReasonSlowSoft
	case c.blockedSince != 0 && now-c.progressAt >= int64(l.NoProgress):
		return ReasonStalled
	}
	return ReasonNone
}
