package client

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/transport/wire"
)

func TestBreakFailsRequestsAndResendsNone(t *testing.T) {
	seen := make(map[uint64]int)
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(k int, _ string, p *peer) error {
		if err := p.admit(wire.ServerReady{}); err != nil {
			return err
		}
		if k == 0 {
			n, err := p.requests(3)
			for _, r := range n {
				seen[r]++
			}
			return errors.Join(err, p.send(frame(0x30, "half a response")))
		}
		for {
			r, err := p.request()
			if err != nil {
				return nil
			}
			seen[r.Seq]++
			if err := p.send(frame(0x30, string(r.Body)), endOf(r.Seq)); err != nil {
				return err
			}
		}
	}, func(w *world) {
		calls := []*Call{w.start("a"), w.start("b"), w.start("c")}
		for _, c := range calls {
			if _, err := wait(c); !errors.Is(err, ErrUnknownOutcome) || errors.Is(err, ErrNotSent) ||
				!strings.Contains(err.Error(), fmt.Sprintf("request %d", c.Request())) {
				t.Error(err)
			}
		}
		r, err := w.Do(context.Background(), 0x10, []byte("d"))
		if got := texts(r); err != nil || !reflect.DeepEqual(got, []string{"0x30 d"}) {
			t.Errorf("%q, %v", got, err)
		}
		synctest.Wait()
		if want := map[uint64]int{1: 1, 2: 1, 3: 1, 4: 1}; !reflect.DeepEqual(seen, want) {
			t.Errorf("the servers received requests %v, want each once", seen)
		}
	})
}

func TestUnsentRequestsOfBrokenConnectionAreKnownAsUnsent(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(k int, _ string, p *peer) error {
		if err := p.admit(wire.ServerReady{}); err != nil || k > 0 {
			return errors.Join(err, p.drain())
		}
		elapse(time.Second) // reads nothing, and leaves
		return nil
	}, func(w *world) {
		if _, err := w.Ready(context.Background()); err != nil {
			t.Fatal(err)
		}
		first := w.start("a")
		synctest.Wait() // its write is under way
		second := w.start("b")
		if _, err := wait(first); !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("first: %v", err)
		}
		if _, err := wait(second); !errors.Is(err, ErrNotSent) || errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("second: %v", err)
		}
	})
}

func TestCloseReasonDecidesAboutReconnecting(t *testing.T) {
	const never = wire.Never
	for _, v := range []struct {
		reason wire.CloseReason
		again  time.Duration
		least  time.Duration // until the next attempt; never: none
		most   time.Duration
	}{
		{wire.CloseShutdown, 0, 50 * time.Millisecond, 100 * time.Millisecond},
		{wire.CloseShutdown, 3 * time.Second, 3 * time.Second, 3 * time.Second},
		{wire.CloseKicked, never, never, 0},
		{wire.CloseKicked, time.Minute, time.Minute, time.Minute},
		{wire.CloseSlow, time.Second, time.Second, time.Second},
		{wire.CloseProtocolError, 0, never, 0},
		{wire.CloseSilent, 0, 50 * time.Millisecond, 100 * time.Millisecond},
		{wire.CloseLimit, 5 * time.Second, 5 * time.Second, 5 * time.Second},
		{wire.CloseUnauthorized, 0, never, 0},
		{wire.CloseUnauthorized, never, never, 0},
		{wire.CloseHandshakeTimeout, 0, 50 * time.Millisecond, 100 * time.Millisecond},
		{wire.CloseInternal, time.Second, time.Second, time.Second},
		{wire.CloseNotLeader, 0, 50 * time.Millisecond, 100 * time.Millisecond},
		{wire.CloseElsewhere, 0, 50 * time.Millisecond, 100 * time.Millisecond},
		{wire.CloseBehind, time.Second, time.Second, time.Second},
		{wire.CloseRevoked, 0, never, 0},
		{14, 0, 50 * time.Millisecond, 100 * time.Millisecond},
		{wire.CloseSlowFeed, time.Second, time.Second, time.Second},
	} {
		for _, admitted := range []bool{true, false} {
			t.Run(fmt.Sprint(v.reason, v.again, admitted), func(t *testing.T) {
				inWorld(t, SessionOptions{}, []string{"a:1"}, func(k int, _ string, p *peer) error {
					if k > 0 {
						return errors.Join(p.admit(wire.ServerReady{}), p.drain())
					}
					err := p.hello()
					if admitted {
						s := wire.ServerReady{Version: 1, Leads: true, MaxRequest: 64}
						err = errors.Join(err, p.send(wire.AppendServerReady(nil, &s)))
					}
					return errors.Join(err, p.send(goodbye(v.reason, v.again)))
				}, func(w *world) { checkReconnect(t, w, v.reason, v.least, v.most) })
			})
		}
	}
}

func checkReconnect(t *testing.T, w *world, reason wire.CloseReason, least, most time.Duration) {
	t.Helper()
	synctest.Wait()
	phase := Disconnected
	if least < 0 {
		phase = Ended
	}
	s := w.last(phase)
	var end *CloseError
	if !errors.As(s.Err, &end) || end.Reason != reason || s.Address != "a:1" {
		t.Errorf("state %+v", s)
	}
	if least < 0 {
		elapse(time.Hour)
		if w.attempts() != 1 {
			t.Errorf("%d attempts: %q", w.attempts(), w.dialled)
		}
		if _, err := w.Do(context.Background(), 0x10, nil); !errors.Is(err, ErrNotSent) || !errors.As(err, &end) {
			t.Errorf("request after the end: %v", err)
		}
		if _, err := w.Ready(context.Background()); !errors.As(err, &end) {
			t.Errorf("Ready after the end: %v", err)
		}
		return
	}
	if s.In < least || s.In > most || s.Next != "a:1" {
		t.Errorf("next attempt at %s in %v, want %v to %v", s.Next, s.In, least, most)
	}
	elapse(s.In - 1)
	if w.attempts() != 1 {
		t.Errorf("came back too early: %q", w.dialled)
	}
	elapse(1)
	if w.attempts() != 2 || w.last(Ready).Address != "a:1" {
		t.Errorf("did not come back: %q", w.dialled)
	}
}

func TestDeadServerIsNoticed(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(k int, _ string, p *peer) error {
		if err := p.admit(wire.ServerReady{Heartbeat: time.Second}); err != nil || k > 0 {
			return errors.Join(err, p.drain())
		}
		for range 10 { // slow, not dead: heartbeats, and a frame in pieces
			elapse(2 * time.Second)
			if err := p.send([]byte(wire.Heartbeat)); err != nil {
				return err
			}
		}
		for _, b := range append(frame(0x30, "xyz"), endOf(1)...) {
			elapse(2 * time.Second)
			if err := p.send([]byte{b}); err != nil {
				return err
			}
		}
		return p.drain()
	}, func(w *world) {
		c := w.start("a")
		if r, err := c.Wait(context.Background()); err != nil || len(r.Frames) != 1 {
			t.Fatal(r, err)
		}
		answered := time.Now()
		_, err := wait(w.start("b"))
		if !errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, ErrServerSilent) ||
			!strings.Contains(err.Error(), "3s, 3 times") {
			t.Error(err)
		}
		if took := time.Since(answered); took != 3*time.Second {
			t.Errorf("noticed after %v", took)
		}
		if s := w.last(Disconnected); !errors.Is(s.Err, ErrServerSilent) {
			t.Errorf("%+v", s)
		}
	})
}

func TestClientIsNotSilentForLongerThanTheServerAllows(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(k int, _ string, p *peer) error {
		if err := p.admit(wire.ServerReady{Silence: 3 * time.Second}); err != nil {
			return err
		}
		began, beats := time.Now(), 0
		for {
			r, err := p.next()
			if err != nil {
				if beats < 58 || beats > 61 {
					return fmt.Errorf("%d heartbeats in a minute", beats)
				}
				return nil
			}
			if took := time.Since(began); took > time.Second {
				return fmt.Errorf("silent for %v", took)
			}
			began = time.Now()
			if r.Tag == wire.TagHeartbeat {
				beats++
			} else if err := p.send(endOf(r.Seq)); err != nil {
				return err
			}
		}
	}, func(w *world) {
		w.Ready(context.Background())
		elapse(59500 * time.Millisecond)
		for range 10 { // requests are as good as heartbeats
			if _, err := wait(w.start("x")); err != nil {
				t.Error(err)
			}
			elapse(500 * time.Millisecond)
		}
	})
}

func TestHandshakeWithoutHopeEndsTheSession(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	challenge := wire.AppendChallenge(nil, &wire.Challenge{Sign: true})
	for name, v := range map[string]struct {
		key   ed25519.PrivateKey
		first []byte
		want  error
	}{
		"no key":         {nil, challenge, ErrNoKey},
		"not challenged": {key, wire.AppendChallenge(nil, &wire.Challenge{}), ErrNotChallenged},
	} {
		inWorld(t, SessionOptions{Conn: Options{Key: v.key}}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
			return errors.Join(p.send(v.first), p.drain())
		}, func(w *world) {
			if _, err := w.Ready(context.Background()); !errors.Is(err, v.want) || w.last(Ended).Err != err {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	inWorld(t, SessionOptions{Conn: Options{Key: key}}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
		err := p.send(challenge)
		if r, hello := p.next(); hello != nil || r.Tag != wire.TagHello {
			return fmt.Errorf("tag %#x, %w", r.Tag, hello)
		}
		return errors.Join(err, p.send(challenge), p.drain())
	}, func(w *world) {
		if s := w.last(Disconnected); !errors.Is(s.Err, ErrChallengedTwice) {
			t.Errorf("a second challenge: %v", s.Err)
		}
	})
}

func TestOnceEndsWithItsFirstFailure(t *testing.T) {
	inWorld(t, SessionOptions{Once: true}, []string{"a:1", "b:1"}, nil, func(w *world) {
		if _, err := w.Do(context.Background(), 0x10, nil); !errors.Is(err, ErrNotSent) ||
			!errors.Is(err, errUnreachable) || w.attempts() != 1 {
			t.Errorf("%v after %d attempts", err, w.attempts())
		}
	})
}

// The bubble of each case fails if a goroutine of the session is left.
func TestCloseEndsEverything(t *testing.T) {
	ready := func(_ int, _ string, p *peer) error { return errors.Join(p.admit(wire.ServerReady{}), p.drain()) }
	hang := func(_ int, _ string, p *peer) error { return p.drain() }
	for name, v := range map[string]struct {
		serve script
		want  error
	}{
		"while backing off":    {nil, ErrNotSent},
		"within the handshake": {hang, ErrNotSent},
		"with a request":       {ready, ErrUnknownOutcome},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			inWorld(t, SessionOptions{}, []string{"a:1"}, v.serve, func(w *world) {
				failed := make(chan error)
				go func() {
					_, err := w.Do(context.Background(), 0x10, nil)
					failed <- err
				}()
				synctest.Wait()
				began := time.Now()
				w.Close()
				w.Close()
				if err := <-failed; !errors.Is(err, v.want) || !errors.Is(err, ErrSessionClosed) {
					t.Error(err)
				}
				if time.Since(began) != 0 {
					t.Errorf("Close took %v", time.Since(began))
				}
				if _, err := w.Send(context.Background(), 0x10, nil); !errors.Is(err, ErrNotSent) ||
					!errors.Is(err, ErrSessionClosed) {
					t.Error(err)
				}
				if s := w.last(Ended); s.Err != ErrSessionClosed {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}
