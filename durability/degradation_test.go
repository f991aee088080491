package durability

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestDegradationNotices(t *testing.T) {
	type step struct {
		at       time.Duration // since the first observation
		degraded bool
		want     NoticeKind
		held     time.Duration
	}
	const ms, s = time.Millisecond, time.Second
	const down, up = true, false
	for _, test := range []struct {
		sentence string
		steps    []step
	}{
		{"healthy throughout logs nothing", []step{{0, up, Quiet, 0}, {10 * s, up, Quiet, 0}}},
		{"degraded at the start warns at once, and only once", []step{
			{0, down, StartedDegraded, 0}, {1 * s, down, Quiet, 0}, {4999 * ms, down, Quiet, 0},
			{5 * s, down, StillDegraded, 5 * s}}},
		{"degraded later warns after a second", []step{
			{0, up, Quiet, 0}, {10 * s, down, Quiet, 0}, {10*s + 999*ms, down, Quiet, 0},
			{11 * s, down, BecameDegraded, 1 * s},
			{11*s + 1, down, Quiet, 0}}},
		{"a flap shorter than a second logs nothing", []step{
			{0, up, Quiet, 0}, {1 * s, down, Quiet, 0}, {1999 * ms, down, Quiet, 0},
			{2 * s, up, Quiet, 0}, {9 * s, up, Quiet, 0}}},
		{"repeated flaps log nothing", []step{
			{0, up, Quiet, 0}, {1 * s, down, Quiet, 0}, {1900 * ms, up, Quiet, 0},
			{2 * s, down, Quiet, 0}, {2900 * ms, up, Quiet, 0},
			{3 * s, down, Quiet, 0}, {3900 * ms, up, Quiet, 0}, {8 * s, up, Quiet, 0}}},
		{"reminders come every 5 s from the warning on", []step{
			{0, up, Quiet, 0}, {1 * s, down, Quiet, 0}, {2 * s, down, BecameDegraded, 1 * s},
			{6999 * ms, down, Quiet, 0},
			{7 * s, down, StillDegraded, 6 * s}, {11999 * ms, down, Quiet, 0},
			{12 * s, down, StillDegraded, 11 * s}}},
		{"after a stall there is one reminder, not several", []step{
			{0, down, StartedDegraded, 0}, {60 * s, down, StillDegraded, 60 * s},
			{61 * s, down, Quiet, 0}, {65 * s, down, StillDegraded, 65 * s}}},
		{"a recovery is logged after it held for a second", []step{
			{0, up, Quiet, 0}, {1 * s, down, Quiet, 0}, {3 * s, down, BecameDegraded, 2 * s},
			{4 * s, up, Quiet, 0},
			{4999 * ms, up, Quiet, 0}, {5 * s, up, Recovered, 3 * s}, {6 * s, up, Quiet, 0}}},
		{"a recovery of less than a second is not logged and ends nothing", []step{
			{0, down, StartedDegraded, 0}, {3 * s, up, Quiet, 0}, {3900 * ms, down, Quiet, 0},
			{5 * s, down, StillDegraded, 5 * s},
			{7 * s, up, Quiet, 0}, {8 * s, up, Recovered, 7 * s}}},
		{"a degraded start that recovers within a second is logged, because the warning was", []step{
			{0, down, StartedDegraded, 0}, {500 * ms, up, Quiet, 0},
			{1500 * ms, up, Recovered, 500 * ms}}},
		{"after a recovery the rules apply from the start", []step{
			{0, down, StartedDegraded, 0}, {1 * s, up, Quiet, 0}, {2 * s, up, Recovered, 1 * s},
			{3 * s, down, Quiet, 0},
			{3500 * ms, up, Quiet, 0}, {5 * s, down, Quiet, 0}, {6 * s, down, BecameDegraded, 1 * s}}},
		{"a clock that steps back is treated as standing still", []step{
			{0, up, Quiet, 0}, {10 * s, down, Quiet, 0}, {1 * s, down, Quiet, 0},
			{11 * s, down, BecameDegraded, 1 * s}}},
	} {
		t.Run(test.sentence, func(t *testing.T) {
			for _, origin := range []int64{0, 1, -1e15, 1_790_000_000e9} { // Any monotonic clock, and a wall clock's range.
				var d Degradation
				for i, step := range test.steps {
					got := d.Observe(origin+int64(step.at), step.degraded)
					if want := (Notice{step.want, step.held}); got != want {
						t.Fatalf("origin %d, step %d at %v: %+v, want %+v",
							origin, i, step.at, got, want)
					}
					if d.Degraded() != step.degraded {
						t.Fatalf("step %d: the gauge is %v", i, d.Degraded())
					}
				}
			}
		})
	}
}

func TestDegradedTotalAccruesDuringStall(t *testing.T) {
	const s = int64(time.Second)
	for _, origin := range []int64{0, -3 * s, 1_790_000_000 * s} {
		var d Degradation
		want := func(at, total int64) {
			t.Helper()
			if got := d.Total(origin + at*s); got != time.Duration(total*s) {
				t.Errorf("origin %d: total at %d s is %v, want %d s", origin, at, got, total)
			}
		}
		want(0, 0)
		d.Observe(origin, false)
		want(9, 0)
		d.Observe(origin+10*s, true)
		want(10, 0)
		want(12, 2)
		want(50, 40) // Nothing was observed for 40 s.
		want(45, 40) // A reader's clock that is behind does not lower the total.
		d.Observe(origin+60*s, false)
		want(60, 50)
		want(100, 50)
		d.Observe(origin+100*s, true)
		want(101, 51)
		d.Observe(origin+102*s, false)
		want(200, 52)
	}
}

func TestDegradedTotalFromDegradedStart(t *testing.T) {
	var d Degradation
	d.Observe(1e9, true)
	if got := d.Total(4e9); got != 3*time.Second {
		t.Errorf("total is %v", got)
	}
}

func TestDegradedTotalNeverFalls(t *testing.T) {
	var d Degradation
	var clock atomic.Int64
	var done atomic.Bool
	var readers sync.WaitGroup
	d.Observe(0, false)
	for range 2 {
		readers.Go(func() {
			last := time.Duration(0)
			for !done.Load() {
				total := d.Total(clock.Load())
				if total < last {
					t.Errorf("total fell from %v to %v", last, total)
					return
				}
				last = total
			}
		})
	}
	for i := int64(1); i <= 50_000; i++ {
		now := clock.Load()
		clock.Add(10) // Readers are ahead of the observer, as its step began earlier.
		d.Observe(now, i%3 == 0)
	}
	done.Store(true)
	readers.Wait()
}

func TestNoticeText(t *testing.T) {
	for want, notice := range map[string]Notice{
		"": {},
		"durability is degraded from the start: the policy asks for more nodes than are in view, " +
			"nothing is released": {StartedDegraded, 0},
		"durability is degraded for 1s: the policy asks for more nodes than are in view, nothing " +
			"more is released": {BecameDegraded, time.Second},
		"durability is still degraded, for 6.001s now": {StillDegraded, 6001 * time.Millisecond},
		"durability recovered after 1m0s degraded":     {Recovered, time.Minute},
	} {
		if got := notice.String(); got != want {
			t.Errorf("%+v reads %q, want %q", notice, got, want)
		}
	}
}
