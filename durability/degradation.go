package durability

import (
	"fmt"
	"sync/atomic"
	"time"
)

// How long a state must hold before it is logged, and the interval at which a lasting one is
// repeated.
const (
	noticeHold     = int64(time.Second)
	noticeReminder = int64(5 * time.Second)
)

// NoticeKind identifies the line, if any, that is due in the log.
type NoticeKind uint8

// The kinds of notices. All but Quiet and Recovered are warnings.
const (
	Quiet           NoticeKind = iota // nothing to log
	StartedDegraded                   // warning: degraded at the first observation
	BecameDegraded                    // warning: degraded for a second
	StillDegraded                     // warning: reminder, every 5 s
	Recovered                         // information: not degraded for a second
)

// Notice is what the caller of Observe logs. The zero Notice is Quiet.
type Notice struct {
	Kind NoticeKind
	// Held is the duration of the degradation so far, or its whole duration once it ended.
	// Recoveries of less than a second do not end it.
	Held time.Duration
}

// String returns the line to log, "" for Quiet.
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

// Degradation turns the gate's Degraded verdicts into a gauge, a total and a few log lines. The
// gate calls Observe on each step, and at least once a second while it is idle, so gauge and lines
// are at most a second late. The zero value is ready for use: not degraded, nothing observed.
type Degradation struct {
	// state holds a number and a bit, so that both are read at one instant. If bit 0 is set, the
	// state is degraded and the number is the moment (ns) of the last change minus the total at
	// that moment, so that now minus the number is the total. If bit 0 is clear, the number is the
	// total (ns). Written by Observe, read by Degraded and Total.
	state atomic.Int64
	// reported is the highest total (ns) returned so far, written and read by Total: a reader's
	// clock may be ahead of the gate's, and a monitoring system takes a total that falls for a
	// restart.
	reported atomic.Int64

	// The fields below belong to the goroutine that calls Observe; all times are in ns.
	started       bool
	degraded      bool  // result of the last observation
	observedAt    int64 // moment of the last observation
	changedAt     int64 // moment of the last change of degraded
	warned        bool  // the last line logged was a warning
	degradedSince int64 // start of the degradation that is logged
	warnedAt      int64 // moment of the last warning
}

// Observe records a verdict at now (monotonic, ns) and returns what to log. For one goroutine. If
// now is before an earlier now, the earlier one is used.
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

// Degraded is the gauge: the verdict of the last observation. Any goroutine.
func (d *Degradation) Degraded() bool { return d.state.Load()&1 != 0 }

// Total is the time spent degraded until now (the clock of Observe, ns), including time in which
// the gate is stalled and observes nothing. It never falls. Any goroutine.
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

// flip changes the state at now. The same subtraction works in both directions: the origin is now
// minus the total, and the total is now minus the origin.
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
