package client

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sluice/transport/wire"
)

func TestAttemptsAreSpacedAndBounded(t *testing.T) {
	o := SessionOptions{MinBackoff: time.Second, MaxBackoff: 8 * time.Second}
	inWorld(t, o, []string{"a:1"}, nil, func(w *world) {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
		defer cancel()
		if _, err := w.Ready(ctx); !errors.Is(err, errUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if _, err := w.Do(ctx, 0x10, nil); !errors.Is(err, ErrNotSent) {
			t.Error(err)
		}
		synctest.Wait()
		most := time.Second
		for _, s := range w.states {
			if s.Phase == Disconnected {
				if s.In < most/2 || s.In > most {
					t.Errorf("delay %v, want %v to %v", s.In, most/2, most)
				}
				most = min(2*most, 8*time.Second)
			}
		}
		if n := w.attempts(); n < 100/8 || n > 30 {
			t.Errorf("%d attempts in 100 s", n)
		}
	})
}

func TestBackoffStartsAgainAfterConnectionThatLasted(t *testing.T) {
	o := SessionOptions{MinBackoff: time.Second, MaxBackoff: 10 * time.Second}
	inWorld(t, o, []string{"a:1"}, func(k int, _ string, p *peer) error {
		err := p.admit(wire.ServerReady{})
		if k >= 5 {
			elapse(10 * time.Second)
		}
		return err
	}, func(w *world) {
		elapse(100 * time.Second)
		synctest.Wait()
		var delays []time.Duration
		for _, s := range w.states {
			if s.Phase == Disconnected {
				delays = append(delays, s.In)
			}
		}
		for i, most := range []time.Duration{1, 2, 4, 8, 10, 1, 1} {
			if most *= time.Second; delays[i] > most || delays[i] < most/2 {
				t.Errorf("delay %d is %v, want %v to %v: %v", i, delays[i], most/2, most, delays)
			}
		}
	})
}

func TestPlanPrefersAddressesThatMayBeVisited(t *testing.T) {
	p := newPlan([]string{"a", "b", "c"}, time.Second, time.Minute, func() float64 { return 1 })
	now := time.Now()
	after := func(d time.Duration) error {
		return &CloseError{wire.Close{Reason: wire.CloseShutdown, RetryAfter: d}}
	}
	for i, v := range []struct {
		err  error
		next string
		wait time.Duration
	}{
		{errUnreachable, "b", 0},
		{after(time.Hour), "c", 0},
		{errUnreachable, "a", time.Second},
		{after(time.Hour), "c", time.Second}, // b is excluded
		{errUnreachable, "c", time.Second},   // so is a
		{after(30 * time.Minute), "c", 30 * time.Minute},
	} {
		if wait := p.failed(v.err, "", now, 0); p.address != v.next || wait != v.wait {
			t.Errorf("step %d: %s in %v, want %s in %v", i, p.address, wait, v.next, v.wait)
		}
	}
	for range 200 {
		if wait := p.failed(errUnreachable, "", now.Add(2*time.Hour), 0); wait < 0 || wait > time.Minute {
			t.Fatalf("delay %v", wait)
		}
	}
}

func TestNextAddressIsTriedAtOnce(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"a:1", "b:1"}, func(k int, address string, p *peer) error {
		if k == 0 {
			return nil // closes without a word
		}
		return errors.Join(p.admit(wire.ServerReady{Name: address}), p.drain())
	}, func(w *world) {
		s, err := w.Ready(context.Background())
		if err != nil || s.Name != "b:1" || !slices.Equal(w.dialled, []string{"a:1 at 0s", "b:1 at 0s"}) {
			t.Errorf("%+v, %v, %q", s, err, w.dialled)
		}
	})
}
