package durability

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// swapping starts a Swap and returns where its result is stored.
func swapping(ctx context.Context, s *Switch, p Policy) *atomic.Pointer[error] {
	answer := new(atomic.Pointer[error])
	go func() {
		err := s.Swap(ctx, p)
		answer.Store(&err)
	}()
	return answer
}

func wantWaiting(t *testing.T, answer *atomic.Pointer[error]) {
	t.Helper()
	synctest.Wait()
	if err := answer.Load(); err != nil {
		t.Fatalf("Swap returned %v before the gate adopted", *err)
	}
}

func wantAnswer(t *testing.T, answer *atomic.Pointer[error], want error, says string) {
	t.Helper()
	synctest.Wait()
	err := answer.Load()
	if err == nil {
		t.Fatal("Swap did not return")
	}
	if !errors.Is(*err, want) || *err != nil && !strings.Contains((*err).Error(), says) {
		t.Fatalf("Swap returned %v, want %v that says %q", *err, want, says)
	}
}

func wantAdopt(t *testing.T, s *Switch, want Policy, changed bool) {
	t.Helper()
	p, c := s.Adopt()
	if p != want || c != changed {
		t.Fatalf("Adopt gave %q, %v; want %q, %v", p, c, want, changed)
	}
	if s.Current() != want {
		t.Fatalf("Current is %q after %q was adopted", s.Current(), want)
	}
}

func TestSwapReturnsOnlyAfterTheGateAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSwitch(Local())
		wantAdopt(t, s, Local(), false)
		answer := swapping(t.Context(), s, Hybrid())
		wantWaiting(t, answer)
		if p, ok := s.Pending(); !ok || p != Hybrid() || s.Current() != Local() {
			t.Fatalf("pending %q (%v), in force %q", p, ok, s.Current())
		}
		wantAdopt(t, s, Hybrid(), true)
		wantAnswer(t, answer, nil, "")
		wantAdopt(t, s, Hybrid(), false)
		if p, ok := s.Pending(); ok {
			t.Fatalf("%q is pending after its adoption", p)
		}
	})
}

func TestSwapToSamePolicyIsAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSwitch(Local())
		answer := swapping(t.Context(), s, Local())
		wantWaiting(t, answer)
		wantAdopt(t, s, Local(), true)
		wantAnswer(t, answer, nil, "")
	})
}

func TestConcurrentSwapsTakeTurnsAndEachIsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSwitch(Local())
		first := swapping(t.Context(), s, Hybrid())
		wantWaiting(t, first)
		second := swapping(t.Context(), s, DurablyReplicated())
		wantWaiting(t, second)
		wantAdopt(t, s, Hybrid(), true)
		wantAnswer(t, first, nil, "")
		wantWaiting(t, second)
		wantAdopt(t, s, DurablyReplicated(), true)
		wantAnswer(t, second, nil, "")
		wantAdopt(t, s, DurablyReplicated(), false)
	})
}

func TestSwapReturnsWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSwitch(Local())
		minute, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		second, cancelSecond := context.WithTimeout(t.Context(), time.Second)
		defer cancelSecond()
		handedOver := swapping(minute, s, Hybrid())
		wantWaiting(t, handedOver)
		behind := swapping(second, s, Replicated())
		wantWaiting(t, behind)

		time.Sleep(time.Second)
		wantAnswer(t, behind, context.DeadlineExceeded, "nothing changed")
		wantWaiting(t, handedOver)
		if p, _ := s.Pending(); p != Hybrid() {
			t.Fatalf("%q is pending, want the swap in front", p)
		}
		time.Sleep(time.Minute)
		wantAnswer(t, handedOver, context.DeadlineExceeded, "the gate adopts it when it steps")

		next := swapping(t.Context(), s, DurablyReplicated())
		wantWaiting(t, next)
		wantAdopt(t, s, DurablyReplicated(), true) // The last one handed over is adopted.
		wantAnswer(t, next, nil, "")
	})
}

func TestTimedOutSwapIsStillAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSwitch(Local())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		answer := swapping(ctx, s, Hybrid())
		time.Sleep(2 * time.Second)
		wantAnswer(t, answer, context.DeadlineExceeded,
			`swap to "persisted>=1 && in_memory>=2" not acknowledged`)
		wantAdopt(t, s, Hybrid(), true)
	})
}

func TestSwapWithAnEndedContextOrWithoutAPolicyChangesNothing(t *testing.T) {
	s := NewSwitch(Local())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 { // The choice between ready cases is random.
		if err := s.Swap(ctx, Hybrid()); !errors.Is(err, context.Canceled) {
			t.Fatalf("Swap with an ended context: %v", err)
		}
	}
	if err := s.Swap(t.Context(), Policy{}); err == nil {
		t.Fatal("the zero Policy was handed over")
	}
	wantAdopt(t, s, Local(), false)
}

func TestClosedSwitchRejectsEverySwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSwitch(Local())
		waiting, behind := swapping(t.Context(), s, Hybrid()), swapping(t.Context(), s, Replicated())
		wantWaiting(t, waiting)
		wantWaiting(t, behind)
		s.Close()
		s.Close()
		wantAnswer(t, waiting, ErrSwitchClosed, "")
		wantAnswer(t, behind, ErrSwitchClosed, "")
		wantAnswer(t, swapping(t.Context(), s, Local()), ErrSwitchClosed, "")
	})
}

func TestSwapWakesOnceItsPolicyCanBeAdopted(t *testing.T) {
	s := NewSwitch(Local())
	waker := &countingWaker{look: func() { wantAdopt(t, s, Hybrid(), true) }} // The gate wakes and adopts at once.
	s.SetWaker(waker)
	if err := s.Swap(t.Context(), Hybrid()); err != nil || waker.wakes.Load() != 1 {
		t.Errorf("Swap: %v, %d wake-ups", err, waker.wakes.Load())
	}
}

// numbered returns a policy that carries a number below 16^4 in its counts.
func numbered(t *testing.T, n int) Policy {
	clauses := make([]Clause, MaxClauses)
	for i := range clauses {
		clauses[i] = Clause{Persisted, 1 + n>>(4*i)&15}
	}
	p, err := NewPolicy(MaxNodes, clauses...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func number(p Policy) (n int) {
	for i := range p.Len() {
		n |= (p.Clause(i).Count - 1) << (4 * i)
	}
	return n
}

// TestNoEvaluationUnderAnOlderPolicyAfterSwapReturned runs a gate against several operators with
// policies of their own, numbered in the order of their calls. When the gate evaluates, it must
// have adopted every policy that was acknowledged before, or a later one.
func TestNoEvaluationUnderAnOlderPolicyAfterSwapReturned(t *testing.T) {
	const operators, swaps = 3, 2000
	s := NewSwitch(Hybrid())
	var acknowledged [operators]atomic.Int64 // written by the operator after Swap returned, read by the gate
	var done atomic.Bool
	var gate, asking sync.WaitGroup
	gate.Go(func() {
		var adopted [operators]int64
		for !done.Load() {
			if p, changed := s.Adopt(); changed {
				adopted[number(p)%operators] = int64(number(p) / operators)
			}
			for operator := range operators { // This is where the gate evaluates what it adopted.
				if known := acknowledged[operator].Load(); known > adopted[operator] {
					t.Errorf("operator %d was acknowledged policy %d, the gate adopted %d last",
						operator, known, adopted[operator])
					return
				}
			}
			runtime.Gosched()
		}
	})
	for operator := range operators {
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for i := 1; i <= swaps && !t.Failed(); i++ {
				if err := s.Swap(ctx, numbered(t, i*operators+operator)); err != nil {
					t.Error(err)
					return
				}
				acknowledged[operator].Store(int64(i))
			}
		})
	}
	asking.Wait()
	done.Store(true)
	gate.Wait()
}
