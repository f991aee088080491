package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/transport/wire"
)

func TestRefusedSubscriptionEnds(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
		n, err := p.first(wire.ServerReady{}, wire.Subscribe{Topic: 7})
		if err != nil {
			return err
		}
		if err := p.send(refusal(n, wire.RefusalTopic), endOf(n)); err != nil {
			return err
		}
		n, err = p.subscribe(wire.Subscribe{Topic: 7, Mode: wire.TopicEvery})
		return errors.Join(err, p.send(snapshot(7, epoch, 1, "a"), endOf(n)), p.drain())
	}, func(w *world) {
		var e events
		var refused *RefusedError
		b, err := w.Subscribe(w.minute(), wire.Subscribe{Topic: 7}, e.on)
		if !errors.As(err, &refused) || refused.Reason != wire.RefusalTopic || b != nil {
			t.Errorf("%v, subscription %v", err, b)
		}
		w.follow(&e, wire.TopicEvery) // it is not subscribed, so it can be
	})
}

// After a failover, the new server may have no such topic, or no room.
func TestSubscriptionRefusedOnAnotherConnectionEnds(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(k int, _ string, p *peer) error {
		if k == 0 {
			n, err := p.first(wire.ServerReady{}, wire.Subscribe{Topic: 7})
			return errors.Join(err, p.send(snapshot(7, epoch, 1, "a"), endOf(n)))
		}
		n, err := p.first(wire.ServerReady{}, wire.Subscribe{Topic: 7, Epoch: epoch, After: 1})
		return errors.Join(err, p.send(refusal(n, wire.RefusalLimit), endOf(n)), p.drain())
	}, func(w *world) {
		var e events
		b := w.follow(&e, wire.TopicRecover)
		<-b.Done()
		var refused *RefusedError
		if err := b.Err(); !errors.As(err, &refused) || refused.Reason != wire.RefusalLimit {
			t.Error(err)
		}
		e.expect(t, "snapshot begin 1", "snapshot frame 1 0x31 a", "snapshot end 1", "broken 1")
	})
}

func TestShedSubscriptionIsRepeated(t *testing.T) {
	const sheds = 4
	var at []time.Duration
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
		if err := p.admit(wire.ServerReady{}); err != nil {
			return err
		}
		began := time.Now()
		for range sheds {
			n, err := p.subscribe(wire.Subscribe{Topic: 7})
			at = append(at, time.Since(began))
			if err := errors.Join(err, p.send(busy(n))); err != nil {
				return err
			}
		}
		n, err := p.subscribe(wire.Subscribe{Topic: 7})
		if err := errors.Join(err, p.send(snapshot(7, epoch, 1, "a"), endOf(n))); err != nil {
			return err
		}
		if n, err = p.leave(7); err == nil {
			err = p.send(busy(n))
		}
		if err != nil {
			return err
		}
		n, err = p.leave(7)
		return errors.Join(err, p.send(endOf(n)), p.drain())
	}, func(w *world) {
		var e events
		b := w.follow(&e, wire.TopicRecover)
		for i := range sheds - 1 {
			least := DefaultMinBackoff << i / 2
			if wait := at[i+1] - at[i]; wait < least || wait > 2*least {
				t.Errorf("attempt %d came %v after the one before, want %v to %v", i+1, wait, least, 2*least)
			}
		}
		if err := b.Unsubscribe(w.minute()); err != nil || b.Err() != nil {
			t.Error(err, b.Err())
		}
	})
}

// What its function cannot follow is left, and the frames that are still under way are dropped.
func TestErrorOfTheFunctionEndsTheSubscription(t *testing.T) {
	for _, fail := range []string{"snapshot frame 1 0x31 a", "frame 2 0x30 b"} {
		inWorld(t, SessionOptions{}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
			n, err := p.first(wire.ServerReady{}, wire.Subscribe{Topic: 7})
			if err := errors.Join(err, p.send(snapshot(7, epoch, 1, "a"), endOf(n), data(7, 2, "b"))); err != nil {
				return err
			}
			if n, err = p.leave(7); err != nil {
				return err
			}
			return errors.Join(p.send(data(7, 3, "c"), endOf(n)), p.drain())
		}, func(w *world) {
			e := events{fail: fail}
			b, err := w.Subscribe(w.minute(), wire.Subscribe{Topic: 7}, e.on)
			if b != nil {
				<-b.Done()
				err = b.Err()
			}
			if err == nil || !strings.Contains(err.Error(), "cannot follow") || !strings.Contains(err.Error(), "topic 7") {
				t.Errorf("%s: %v", fail, err)
			}
			synctest.Wait()
			if last := e.list[len(e.list)-1]; last != fail {
				t.Errorf("%q behind %q", last, fail)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.topics) != 0 {
				t.Errorf("still subscribed: %v", w.topics)
			}
		})
	}
}

// Frames that the server sent before it learned of the end are no protocol error.
func TestSubscriptionGivenUpWhileItBeginsIsLeft(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
		n, err := p.first(wire.ServerReady{}, wire.Subscribe{Topic: 7})
		if err != nil {
			return err
		}
		m, err := p.leave(7)
		if err := errors.Join(err, p.send(snapshot(7, epoch, 1, "a"), endOf(n), data(7, 2, "b"), endOf(m))); err != nil {
			return err
		}
		if n, err = p.subscribe(wire.Subscribe{Topic: 7}); err != nil {
			return err
		}
		return errors.Join(p.send(snapshot(7, epoch, 3, "c"), endOf(n)), p.drain())
	}, func(w *world) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var e events
		if b, err := w.Subscribe(ctx, wire.Subscribe{Topic: 7}, e.on); !errors.Is(err, context.DeadlineExceeded) || b != nil {
			t.Errorf("%v, subscription %v", err, b)
		}
		synctest.Wait()
		w.follow(new(events), wire.TopicRecover)
		if n := w.attempts(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

func TestSubscriptionWithoutConnectionEndsAtOnce(t *testing.T) {
	inWorld(t, SessionOptions{MinBackoff: time.Hour, MaxBackoff: time.Hour}, []string{"a:1"},
		func(_ int, _ string, p *peer) error {
			n, err := p.first(wire.ServerReady{}, wire.Subscribe{Topic: 7})
			return errors.Join(err, p.send(snapshot(7, epoch, 1, "a"), endOf(n)))
		}, func(w *world) {
			b := w.follow(new(events), wire.TopicRecover)
			w.last(Disconnected)
			if err := b.Unsubscribe(w.minute()); err != nil || !closed(b.Done()) || b.Err() != nil {
				t.Error(err, b.Err())
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, err := w.Subscribe(ctx, wire.Subscribe{Topic: 7}, new(events).on)
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "not connected") {
				t.Error(err)
			}
		})
}

func TestUnsubscribeEndsWithTheConnection(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(k int, _ string, p *peer) error {
		if k > 0 {
			return errors.Join(p.admit(wire.ServerReady{}), p.drain())
		}
		n, err := p.first(wire.ServerReady{}, wire.Subscribe{Topic: 7})
		if err := errors.Join(err, p.send(snapshot(7, epoch, 1, "a"), endOf(n))); err != nil {
			return err
		}
		_, err = p.leave(7)
		return err
	}, func(w *world) {
		b := w.follow(new(events), wire.TopicRecover)
		if err := b.Unsubscribe(w.minute()); err != nil || b.Err() != nil {
			t.Error(err, b.Err())
		}
	})
}

func TestEndOfTheSessionEndsSubscriptions(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
		n, err := p.first(wire.ServerReady{}, wire.Subscribe{Topic: 7})
		return errors.Join(err, p.send(snapshot(7, epoch, 1, "a"), endOf(n)), p.drain())
	}, func(w *world) {
		var e events
		b := w.follow(&e, wire.TopicRecover)
		waits := make(chan error)
		go func() {
			_, err := w.Subscribe(context.Background(), wire.Subscribe{Topic: 8}, new(events).on)
			waits <- err
		}()
		synctest.Wait()
		w.Session.Close()
		if err := <-waits; !errors.Is(err, ErrSessionClosed) {
			t.Error(err)
		}
		if !closed(b.Done()) || !errors.Is(b.Err(), ErrSessionClosed) {
			t.Error(b.Err())
		}
		if _, err := w.Subscribe(w.minute(), wire.Subscribe{Topic: 7}, e.on); !errors.Is(err, ErrSessionClosed) {
			t.Error(err)
		}
		e.expect(t, "snapshot begin 1", "snapshot frame 1 0x31 a", "snapshot end 1", "broken 1")
	})
}

// Subscriptions take places of the window, in front of requests that wait.
func TestSubscriptionsComeBackBeforeOtherRequests(t *testing.T) {
	const n = 10
	inWorld(t, SessionOptions{Window: 3}, []string{"a:1"}, func(k int, _ string, p *peer) error {
		if err := p.admit(wire.ServerReady{}); err != nil {
			return err
		}
		for i := range uint64(n) {
			want := wire.Subscribe{Topic: i}
			if k > 0 {
				want.Epoch, want.After = epoch, 100+i
			}
			request, err := p.subscribe(want)
			if err != nil {
				return err
			}
			if err := p.send(snapshot(i, epoch, 100+i, "a"), endOf(request)); err != nil {
				return err
			}
		}
		q, err := p.request()
		if k == 0 || err != nil {
			return err // of the request that is lost
		}
		if string(q.Body) != "waits" {
			err = fmt.Errorf("request %q", q.Body)
		}
		return errors.Join(err, p.send(endOf(q.Seq)), p.drain())
	}, func(w *world) {
		for i := range uint64(n) {
			if _, err := w.Subscribe(w.minute(), wire.Subscribe{Topic: i}, new(events).on); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := wait(w.start("lost")); !errors.Is(err, ErrUnknownOutcome) {
			t.Error(err)
		}
		if _, err := wait(w.start("waits")); err != nil {
			t.Error(err)
		}
	})
}

func TestMistakesOfASubscriberSendNothing(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
		if err := p.admit(wire.ServerReady{MaxRequest: 34}); err != nil {
			return err
		}
		if r, err := p.next(); err == nil && r.Tag != wire.TagHeartbeat {
			return fmt.Errorf("request %+v", r)
		}
		return nil
	}, func(w *world) {
		on := new(events).on
		for want, subscribe := range map[string]func() error{
			"mode 3": func() error {
				_, err := w.Subscribe(w.minute(), wire.Subscribe{Mode: 3}, on)
				return err
			},
			"needs a function": func() error {
				_, err := w.Subscribe(w.minute(), wire.Subscribe{}, nil)
				return err
			},
			"length 35, and the server takes at most 34": func() error {
				_, err := w.Subscribe(w.minute(), wire.Subscribe{}, on)
				return err
			},
		} {
			if err := subscribe(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
	})
	if got := fmt.Sprint(TopicEventKind(0), SnapshotBegin, TopicResumed,
		TopicEventKind(99)); got != "unknown snapshot begin resumed unknown" {
		t.Error(got)
	}
}

// A frame of a topic may be longer than the longest response.
func TestLongestFrameOfATopicIsReceived(t *testing.T) {
	text := strings.Repeat("x", wire.MaxResponse-1)
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
		n, err := p.first(wire.ServerReady{}, wire.Subscribe{Topic: 7})
		return errors.Join(err, p.send(snapshot(7, epoch, 1, "a"), endOf(n), data(7, 2, text)), p.drain())
	}, func(w *world) {
		var e events
		w.follow(&e, wire.TopicRecover)
		synctest.Wait()
		if n := len(e.list); n != 4 || !strings.HasSuffix(e.list[3], text) || slices.Contains(e.list, "broken 1") {
			t.Errorf("%d events", n)
		}
	})
}

func TestFramesOfTopicsCostNoAllocation(t *testing.T) {
	s := &Session{topics: map[uint64]*Subscription{}}
	b := &Subscription{session: s, request: wire.Subscribe{Topic: 7}, on: func(TopicEvent) error { return nil },
		epoch: epoch, whole: true, live: true}
	l := &link{session: s, topics: topics{known: map[uint64]*Subscription{7: b}}}
	body := data(7, 1, "text")[5:]
	if n := testing.AllocsPerRun(100, func() {
		body[9]++
		b.seq = uint64(body[9]) - 1
		if err := l.frame(wire.TagExtended, body); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}
