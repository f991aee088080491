package durability

import (
	"fmt"
	"sync/atomic"
	"time"
)

// How long a state holds before it is worth a line, and how often a lasting one is repeated.
const (
	noticeHold     = int64(time.Second)
	noticeReminder = int64(5 * time.Second)
)

// NoticeKind says which line, if any, is due in the log.
type NoticeKind uint8

// The kinds of notices. All but Quiet and Recovered are warnings.
const (
	Quiet           NoticeKind = iota // nothing to log
	StartedDegraded                   // warning: degraded at the first look
	BecameDegraded                    // warning: degraded for a second now
	StillDegraded                     // warning: the reminder, every 5 s
	Recovered                         // information: whole again for a second now
)

// Notice is what the caller of Observe logs. The zero Notice is Quiet.
type Notice struct {
	Kind NoticeKind
	// Held is how long the degradation has held, or had held when it ended. Recoveries of less than a second in between
	// do not end it.
	Held time.Duration
}

// String gives the line to log, "" for Quiet.
func (n Notice) String() string {
	held := n.Held.Round(time.Millisecond)
	switch n.Kind {
	case StartedDegraded:
		return "durability is degraded from the start: the policy asks for more nodes than are in view, " +
			"nothing is released"
	case BecameDegraded:
		return fmt.Sprintf("durability is degraded for %v: the policy asks for more nodes than are in view, "+
			"nothing more is released", held)
	case StillDegraded:
		return fmt.Sprintf("durability is still degraded, for %v now", held)
	case Recovered:
		return fmt.Sprintf("durability recovered after %v degraded", held)
	}
	return ""
}

// Degradation turns the gate's Degraded verdicts into a gauge, a total and a few lines in the log. The gate calls
// Observe on each step, and at least once a second while it is idle, so that gauge and lines are never later than that.
// The zero value is ready: not degraded, nothing observed.
type Degradation struct {
	// state holds one number and one bit, so that both are read at one instant. Bit 0 set: degraded, and the number is
	// the moment (ns) at which the total would have been 0, had it only ever accrued. Bit 0 clear: the number is the
	// total (ns). Written by Observe, read by Degraded and Total.
	state atomic.Int64
	// reported is the highest total (ns) returned so far, written and read by Total: a reader's clock may be ahead of the
	// gate's, and a total that falls looks like a restart to a monitoring system.
	reported atomic.Int64

	// The rest belongs to the goroutine that observes; all times in ns.
	started       bool
	degraded      bool  // the last observation
	observedAt    int64 // when it was
	changedAt     int64 // when degraded last changed
	warned        bool  // the log says degraded
	degradedSince int64 // when the degradation that the log speaks of began
	warnedAt      int64 // when the last warning was given
}

// Observe takes in a verdict at now (monotonic, ns) and says what to log. For one goroutine. A now before an earlier one
// counts as that one.
func (d *Degradation) Observe(now int64, degraded bool) Notice {
	if !d.started {
		d.started, d.observedAt, d.changedAt = true, now, now
		if degraded {
			d.flip(now)
			return d.warn(StartedDegraded, now)
		}
		return Notice{}
	}
	now = max(now, d.observedAt)
	d.observedAt = now
	if degraded != d.degraded {
		d.flip(now)
	}
	held := now - d.changedAt
	switch {
	case d.degraded && !d.warned && held >= noticeHold:
		return d.warn(BecameDegraded, now)
	case d.degraded && d.warned && now-d.warnedAt >= noticeReminder:
		return d.warn(StillDegraded, now)
	case !d.degraded && d.warned && held >= noticeHold:
		d.warned = false
		return Notice{Recovered, time.Duration(d.changedAt - d.degradedSince)}
	}
	return Notice{}
}

// Degraded is the gauge: the verdict observed last. Any goroutine.
func (d *Degradation) Degraded() bool { return d.state.Load()&1 != 0 }

// Total is the time spent degraded until now (the clock of Observe, ns), also while the gate stalls and observes
// nothing. It never falls. Any goroutine.
func (d *Degradation) Total(now int64) time.Duration {
	state := d.state.Load()
	total := state >> 1
	if state&1 != 0 {
		total = now - total
	}
	for {
		reported := d.reported.Load()
		if total <= reported {
			return time.Duration(reported)
		}
		if d.reported.CompareAndSwap(reported, total) {
			return time.Duration(total)
		}
	}
}

// flip changes the state at now. The same subtraction serves both ways: the origin is now less the total, and the total
// is now less the origin.
func (d *Degradation) flip(now int64) {
	d.degraded, d.changedAt = !d.degraded, now
	if d.degraded && !d.warned {
		d.degradedSince = now
	}
	state := (now - d.state.Load()>>1) << 1
	if d.degraded {
		state |= 1
	}
	d.state.Store(state)
}

func (d *Degradation) warn(kind NoticeKind, now int64) Notice {
	d.warned, d.warnedAt = true, now
	return Notice{kind, time.Duration(now - d.degradedSince)}
}
