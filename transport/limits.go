package transport

import (
	"fmt"
	"time"
)

// Limits bound what one connection may hold back before it is closed as slow (R23). HardBytes is
// checked on append, the others on a timer; none is checked only on a path that the slow peer can
// block.
type Limits struct {
	HardBytes  int           // unsent bytes that end the connection at once
	SoftBytes  int           // unsent bytes that end it if exceeded for SoftFor
	SoftFor    time.Duration // time for which SoftBytes may be exceeded
	NoProgress time.Duration // time for which the peer of a blocked connection may read nothing
}

// DefaultLimits returns a hard limit of 1 MiB, a soft limit of 256 KiB for 2 s, and 5 s without
// progress.
func DefaultLimits() Limits {
	return Limits{HardBytes: 1 << 20, SoftBytes: 256 << 10, SoftFor: 2 * time.Second,
		NoProgress: 5 * time.Second}
}

// Validate returns an error for the first invalid limit. maxFrame is the size of the largest frame
// and maxBlock of the largest buffer block of a connection, both in bytes.
func (l Limits) Validate(maxFrame, maxBlock int) error {
	switch {
	case l.HardBytes < maxFrame:
		return fmt.Errorf("transport: hard limit %d B is below the largest frame %d B; raise it "+
			"to at least one frame", l.HardBytes, maxFrame)
	case l.HardBytes > maxBlock:
		return fmt.Errorf("transport: hard limit %d B is above the largest buffer block %d B; "+
			"lower it or raise the slab segment", l.HardBytes, maxBlock)
	case l.SoftBytes <= 0 || l.SoftBytes > l.HardBytes:
		return fmt.Errorf("transport: soft limit %d B must lie in 1..%d B (the hard limit)",
			l.SoftBytes, l.HardBytes)
	case l.SoftFor <= 0:
		return fmt.Errorf("transport: soft limit duration %v must be positive", l.SoftFor)
	case l.NoProgress <= 0:
		return fmt.Errorf("transport: no-progress duration %v must be positive", l.NoProgress)
	}
	return nil
}

// Check returns the reason to end the connection at now (monotonic ns), or ReasonNone. It depends
// only on the state of the connection; the caller decides when to call it.
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
