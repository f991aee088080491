package telemetry

import (
	"math"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

func TestTraceRecordIs96Bytes(t *testing.T) {
	if n := unsafe.Sizeof(TraceRec{}); n != 96 {
		t.Errorf("%d bytes", n)
	}
}

func TestStampsAreRelativeToReceiptAndSaturate(t *testing.T) {
	rec := TraceRec{Received: 1000}
	if _, passed := rec.At(PointEncoded); passed {
		t.Error("a point without a stamp was passed")
	}
	for _, tt := range []struct {
		name      string
		now, want int64
	}{
		{"later", 1500, 1500},
		{"same instant counts as passed", 1000, 1001},
		{"out of order counts as passed immediately", 900, 1001},
		{"too late saturates", 1000 + 1<<40, 1000 + math.MaxUint32},
	} {
		rec.Stamp(PointEncoded, tt.now)
		if got, passed := rec.At(PointEncoded); !passed || got != tt.want {
			t.Errorf("%s: %d %v, want %d", tt.name, got, passed, tt.want)
		}
	}
}

func TestFullBoxRejectsAndCounts(t *testing.T) {
	q := NewTraceBox(4)
	var r TraceRec
	for i := range uint64(6) {
		r.Seq = i
		if ok := q.TryPut(&r); ok != (i < 4) {
			t.Fatalf("put %d: %v", i, ok)
		}
	}
	if q.Refused() != 2 {
		t.Errorf("refused %d, want 2", q.Refused())
	}
	for i := range uint64(4) {
		if !q.TryGet(&r) || r.Seq != i {
			t.Fatalf("got %d, want %d", r.Seq, i)
		}
	}
	if q.TryGet(&r) {
		t.Error("got a fifth record")
	}
	if !q.TryPut(&r) {
		t.Error("rejected after the box was emptied")
	}
}

func TestBoxKeepsOrderBetweenTwoGoroutines(t *testing.T) {
	const records = 20_000
	q := NewTraceBox(8)
	var stop atomic.Bool
	go func() {
		var r TraceRec
		for i := uint64(1); i <= records; i++ {
			r.Seq, r.Conn, r.Received = i, i*3, int64(i*5)
			for !q.TryPut(&r) {
				runtime.Gosched()
			}
		}
		stop.Store(true)
	}()
	var r TraceRec
	for want := uint64(1); want <= records; {
		ended := stop.Load()
		if !q.TryGet(&r) {
			if ended {
				t.Fatalf("record %d is lost", want)
			}
			runtime.Gosched()
			continue
		}
		if r.Seq != want || r.Conn != want*3 || r.Received != int64(want*5) {
			t.Fatalf("got %d %d %d, want record %d", r.Seq, r.Conn, r.Received, want)
		}
		want++
	}
}

func TestHeadSampling(t *testing.T) {
	left := new(atomic.Int64)
	left.Store(2)
	debug := Rules{DebugConn: 17, DebugLeft: left}
	all, none := NewRules(1, 0), NewRules(0, 0)
	for _, tt := range []struct {
		name   string
		rules  *Rules
		conn   uint64
		parent bool
		want   TraceReason
	}{
		{"a sampled parent is always continued", &none, 5, true, TraceReasonParent},
		{"ratio 0 picks nothing", &none, 5, false, TraceReasonNone},
		{"ratio 1 picks everything", &all, 5, false, TraceReasonRatio},
		{"another connection is not debugged", &debug, 5, false, TraceReasonNone},
		{"first of the debugged connection", &debug, 17, false, TraceReasonDebug},
		{"second of the debugged connection", &debug, 17, false, TraceReasonDebug},
		{"third of a connection that is debugged for 2 slots", &debug, 17, false, TraceReasonNone},
	} {
		if got, ok := tt.rules.Head(1, tt.conn, tt.parent); got != tt.want ||
			ok != (tt.want != TraceReasonNone) {
			t.Errorf("%s: %s %v", tt.name, got.Name(), ok)
		}
	}
}

func TestRatioPicksTheSameSlotsOnEveryNode(t *testing.T) {
	a, b := NewRules(0.01, 0), NewRules(0.01, 0)
	n := 0
	for seq := range uint64(1_000_000) {
		_, one := a.Head(seq, 1, false)
		if _, two := b.Head(seq, 2, false); one != two {
			t.Fatalf("seq %d: %v and %v", seq, one, two)
		}
		if one {
			n++
		}
	}
	if n < 9_500 || n > 10_500 {
		t.Errorf("picked %d of a million, want about 10000", n)
	}
}

func TestSlowThreshold(t *testing.T) {
	r, off := NewRules(0, time.Millisecond), NewRules(0, 0)
	if r.Slow(1e6) || !r.Slow(1e6+1) || off.Slow(math.MaxUint64) {
		t.Error("threshold of 1 ms is not applied")
	}
}

func TestSamplerReplacesRules(t *testing.T) {
	s := NewSampler(Rules{})
	if s.Load().Slow(10) {
		t.Error("zero rules trace slow slots")
	}
	s.Set(NewRules(0, 5))
	if !s.Load().Slow(10) {
		t.Error("new rules are not in force")
	}
}

func TestClockIsMonotonicAndMapsToWallTime(t *testing.T) {
	c := NewClock()
	a := c.Now()
	if b := c.Now(); a < 0 || b < a {
		t.Errorf("%d then %d", a, b)
	}
	if got := c.Wall(int64(time.Second)).Sub(c.Wall(0)); got != time.Second {
		t.Errorf("a second is %v", got)
	}
	if Since(5, 3) != 0 || Since(3, 5) != 2 {
		t.Error("Since does not saturate at 0")
	}
}
