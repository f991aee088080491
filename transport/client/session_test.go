package client

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/transport/wire"
)

func TestResponsesAreMatchedByNumber(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
		if err := p.admit(wire.ServerReady{}); err != nil {
			return err
		}
		n, err := p.requests(4)
		if err != nil {
			return err
		}
		return errors.Join(p.send(
			frame(0x30, "third"), frame(0x31, ""), endOf(n[2]),
			frame(0x30, "first"), busy(n[3]), frame(0x30, "more"), endOf(n[0]),
			refusal(n[1], wire.RefusalRole), endOf(n[1])), p.drain())
	}, func(w *world) {
		var calls []*Call
		for i := range 4 {
			calls = append(calls, w.start(fmt.Sprint(i)))
		}
		for i, want := range [][]string{{"0x30 first", "0x30 more"}, nil, {"0x30 third", "0x31 "}, nil} {
			r, err := wait(calls[i])
			if got := texts(r); !reflect.DeepEqual(got, want) || r.Frames != nil && r.Request != calls[i].Request() {
				t.Errorf("request %d: %q for number %d, want %q", i, got, r.Request, want)
			}
			var refused *RefusedError
			switch i {
			case 1:
				if !errors.As(err, &refused) || refused.Reason != wire.RefusalRole ||
					refused.Request != calls[1].Request() {
					t.Errorf("refused request: %v", err)
				}
			case 3:
				if !errors.Is(err, ErrBusy) {
					t.Errorf("shed request: %v", err)
				}
			default:
				if err != nil {
					t.Errorf("request %d: %v", i, err)
				}
			}
		}
	})
}

func TestWrongRequestNumbersAreProtocolErrors(t *testing.T) {
	for name, v := range map[string]struct {
		frames func(n uint64) []byte
		want   string
	}{
		"unknown":            {func(n uint64) []byte { return endOf(n + 7) }, "request 8: the server sent BatchEnd for it"},
		"zero":               {func(uint64) []byte { return endOf(0) }, "request 0: the server sent BatchEnd for it"},
		"refusal of unknown": {func(n uint64) []byte { return refusal(n+1, 1) }, "request 2: the server sent EngineError"},
		"busy unknown":       {func(n uint64) []byte { return busy(99) }, "request 99: the server sent ServerBusy"},
		"too short":          {func(n uint64) []byte { return frame(wire.TagBatchEnd, "x") }, "BatchEnd that is too short"},
		"tag":                {func(n uint64) []byte { return frame(0x0A, "12345678") }, "AdminResponse"},
		"reserved tag":       {func(n uint64) []byte { return frame(0x0E, "") }, "unexpected tag 0x0e"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			inWorld(t, SessionOptions{}, []string{"a:1"}, func(k int, _ string, p *peer) error {
				if err := p.admit(wire.ServerReady{}); err != nil || k > 0 {
					return errors.Join(err, p.drain())
				}
				n, err := p.requests(1)
				if err != nil {
					return err
				}
				return errors.Join(p.send(v.frames(n[0])), p.drain())
			}, func(w *world) {
				_, err := wait(w.start("x"))
				if !errors.Is(err, ErrUnknownOutcome) || !strings.Contains(err.Error(), v.want) {
					t.Errorf("%v, want %q", err, v.want)
				}
				if s := w.last(Disconnected); !strings.Contains(s.Err.Error(), v.want) {
					t.Errorf("state %+v", s)
				}
			})
		})
	}
}

func TestSecondResponseIsProtocolError(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(k int, _ string, p *peer) error {
		if err := p.admit(wire.ServerReady{}); err != nil || k > 0 {
			return errors.Join(err, p.drain())
		}
		n, err := p.requests(2)
		if err != nil {
			return err
		}
		return errors.Join(p.send(endOf(n[0]), endOf(n[0])), p.drain())
	}, func(w *world) {
		first, second := w.start("a"), w.start("b")
		if _, err := wait(first); err != nil {
			t.Error(err)
		}
		var wrong *ProtocolError
		if _, err := wait(second); !errors.Is(err, ErrUnknownOutcome) || !errors.As(err, &wrong) ||
			wrong.Request != first.Request() {
			t.Errorf("%v, want a protocol error about request %d", err, first.Request())
		}
	})
}

func TestWindowBoundsRequestsUnderWay(t *testing.T) {
	for _, v := range []struct{ own, server, want int }{{3, 0, 3}, {0, 2, 2}, {5, 2, 2}, {2, 5, 2}, {0, 0, DefaultWindow}} {
		inWorld(t, SessionOptions{Window: v.own}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
			if err := p.admit(wire.ServerReady{Window: uint32(v.server)}); err != nil {
				return err
			}
			n, err := p.requests(v.want)
			if err != nil {
				return err
			}
			p.SetReadDeadline(time.Now().Add(time.Hour)) // no further request arrives
			if r, err := p.next(); err == nil {
				return fmt.Errorf("request %d beyond the window of %d", r.Seq, v.want)
			}
			p.SetReadDeadline(time.Time{})
			if err := p.send(endOf(n[1])); err != nil {
				return err
			}
			next, err := p.request()
			if err == nil && string(next.Body) != "waits" {
				err = fmt.Errorf("next request %q", next.Body)
			}
			return errors.Join(err, p.send(endOf(next.Seq)), p.drain())
		}, func(w *world) {
			for i := range v.want {
				w.start(fmt.Sprint(i))
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			if _, err := w.Send(ctx, 0x10, nil); !errors.Is(err, ErrNotSent) ||
				!errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("beyond the window: %v", err)
			}
			cancel()
			if _, err := wait(w.start("waits")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWaitEndsWithItsContextAndTheRequestStaysUnderWay(t *testing.T) {
	inWorld(t, SessionOptions{Window: 1}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
		if err := p.admit(wire.ServerReady{}); err != nil {
			return err
		}
		for {
			r, err := p.request()
			if err != nil {
				return nil
			}
			elapse(time.Second)
			if err := p.send(frame(0x30, string(r.Body)), endOf(r.Seq)); err != nil {
				return err
			}
		}
	}, func(w *world) {
		ctx, cancel := context.WithCancelCause(context.Background())
		mine := errors.New("mine")
		time.AfterFunc(time.Millisecond, func() { cancel(mine) })
		if _, err := w.Do(ctx, 0x10, []byte("late")); !errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, mine) {
			t.Error(err)
		}
		if _, err := w.Do(ctx, 0x10, nil); !errors.Is(err, ErrNotSent) || !errors.Is(err, mine) {
			t.Error(err)
		}
		r, err := w.Do(context.Background(), 0x10, []byte("next"))
		if got := texts(r); err != nil || len(got) != 1 || got[0] != "0x30 next" {
			t.Errorf("%q, error %v", got, err)
		}
	})
}

func TestMistakesOfTheCallerSendNothing(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
		if err := p.admit(wire.ServerReady{MaxRequest: 20}); err != nil {
			return err
		}
		r, err := p.request()
		if err == nil && len(r.Body) != 11 {
			err = fmt.Errorf("a request of %d bytes", len(r.Body))
		}
		return errors.Join(err, p.send(endOf(r.Seq)), p.drain())
	}, func(w *world) {
		if _, err := w.Do(context.Background(), 0x10, make([]byte, 12)); err == nil ||
			!strings.Contains(err.Error(), "length 21, and the server takes at most 20") {
			t.Error(err)
		}
		for _, tag := range []uint8{wire.TagHeartbeat, wire.TagHello, wire.TagTraced, 0x30, 0} {
			if _, err := w.Do(context.Background(), tag, nil); err == nil || !strings.Contains(err.Error(), "tag") {
				t.Errorf("tag %#x: %v", tag, err)
			}
		}
		if _, err := w.Do(context.Background(), 0x10, make([]byte, 11)); err != nil {
			t.Error(err)
		}
	})
	for _, addresses := range [][]string{nil, {""}, {"a:1", ""}, {"socket"}, {"a:1", "host"}} {
		if _, err := OpenSession(SessionOptions{}, addresses...); err == nil {
			t.Errorf("addresses %q", addresses)
		}
	}
	if _, err := OpenSession(SessionOptions{Window: -1}, "a:1"); err == nil {
		t.Error("a negative window")
	}
}

func TestPushedFramesAreNoPartOfResponse(t *testing.T) {
	var pushed []string
	o := SessionOptions{OnFrame: func(tag uint8, body []byte) bool {
		if tag == 0x40 {
			pushed = append(pushed, string(body))
		}
		return tag == 0x40
	}}
	inWorld(t, o, []string{"a:1"}, func(_ int, _ string, p *peer) error {
		if err := p.admit(wire.ServerReady{}); err != nil {
			return err
		}
		n, err := p.requests(1)
		if err != nil {
			return err
		}
		return errors.Join(p.send(frame(0x40, "a"), frame(0x30, "x"), frame(0x40, "b"), frame(0x30, "y"),
			endOf(n[0]), frame(0x40, "c")), p.drain())
	}, func(w *world) {
		r, err := wait(w.start("q"))
		if got := texts(r); err != nil || !reflect.DeepEqual(got, []string{"0x30 x", "0x30 y"}) {
			t.Errorf("%q, error %v", got, err)
		}
		synctest.Wait()
		if !reflect.DeepEqual(pushed, []string{"a", "b", "c"}) {
			t.Errorf("pushed %q", pushed)
		}
	})
}

func TestResponseBeyondItsLimitEndsTheConnection(t *testing.T) {
	inWorld(t, SessionOptions{MaxResponseBytes: 100}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
		if err := p.admit(wire.ServerReady{}); err != nil {
			return err
		}
		for {
			r, err := p.request()
			if err != nil {
				return nil
			}
			text := strings.Repeat("x", 49)
			if p.send(frame(0x30, text), frame(0x30, text)) != nil {
				return nil
			}
			if string(r.Body) == "more" {
				_ = p.send(frame(0x30, "")) // fails if the client has left
			}
			if p.send(endOf(r.Seq)) != nil {
				return nil
			}
		}
	}, func(w *world) {
		for range 3 {
			if r, err := wait(w.start("exact")); err != nil || len(r.Frames) != 2 {
				t.Errorf("%v, %v", texts(r), err)
			}
		}
		if _, err := wait(w.start("more")); !errors.Is(err, ErrUnknownOutcome) ||
			!strings.Contains(err.Error(), "more than 100 bytes") {
			t.Error(err)
		}
	})
}

func TestAdminResponseIsWholeResponse(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"/run/s"}, func(_ int, _ string, p *peer) error {
		if err := p.admit(wire.ServerReady{}); err != nil {
			return err
		}
		r, err := p.request()
		if err == nil && r.Tag != wire.TagAdminCommand {
			err = fmt.Errorf("tag %#x", r.Tag)
		}
		other, otherErr := p.request()
		return errors.Join(err, otherErr, p.send(frame(0x30, "a"), wire.AppendAdminResponse(nil, r.Seq, []byte("{}")),
			frame(0x30, "b"), endOf(other.Seq)), p.drain())
	}, func(w *world) {
		admin, err := w.Send(context.Background(), wire.TagAdminCommand, []byte(`{"method":"GET"}`))
		if err != nil {
			t.Fatal(err)
		}
		for c, want := range map[*Call][]string{w.start("x"): {"0x30 a", "0x30 b"}, admin: {"0xa {}"}} {
			r, err := wait(c)
			if got := texts(r); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%q, %v", got, err)
			}
		}
	})
}
