package actors

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/durability"
	"sluice/telemetry"
	"sluice/transport"
)

// wantsReaderAwaited checks the error of an end that waited for the reader of connection 1 only.
func (r *rig) wantsReaderAwaited(err error, op string, cause error) {
	r.t.Helper()
	var e *DrainError
	if !errors.As(err, &e) || !errors.Is(err, cause) || e.Op != op || e.More != 0 ||
		!slices.Equal(e.Waiting, []Awaited{{Conn: 1, Reader: true}}) ||
		!strings.Contains(err.Error(), "connections not done: 1 (its reader has not called Disconnect)") {
		r.t.Errorf("%s returned %v, want %v and connection 1 with its reader", op, err, cause)
	}
}

// drainFor drains for a short time that is not enough.
func (r *rig) drainFor(d time.Duration) *DrainError {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return r.unfinished(r.Drain(ctx), context.DeadlineExceeded)
}

// drainUntil drains until a fact holds.
func (r *rig) drainUntil(fact string, holds func() bool) *DrainError {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- r.Drain(ctx) }()
	r.until(fact, holds)
	cancel()
	return r.unfinished(<-drained, context.Canceled)
}

// unfinished checks the type and cause of an error.
func (r *rig) unfinished(err, cause error) *DrainError {
	r.t.Helper()
	var e *DrainError
	if !errors.As(err, &e) || !errors.Is(err, cause) || e.Op != "drain" {
		r.t.Fatalf("the drain returned %v, want a *DrainError with %v", err, cause)
	}
	return e
}

// says checks the text of an error.
func says(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not contain %q", err, part)
		}
	}
}

func TestDrainErrorNamesBlockedClients(t *testing.T) {
	eachPlacement(t, func(t *testing.T, w way, p Placement) {
		r := newRig(t, w, func(c *Config) { c.Placement, c.MaxFrame = p, 8192 })
		blocked := r.dialAll(1, 12, socket{small: true})
		r.dial(99, socket{}) // reads nothing, but has everything
		for i := range blocked {
			r.report(uint64(i+1), 0, 50, 5000)
		}
		r.report(99, 0, 1, 20)
		r.persist()
		r.until("all are blocked",
			func() bool { return r.gauge(telemetry.EgressBlockedConnections) == 12 })
		r.Slots().Close()
		e := r.drainUntil("99 is done", func() bool { return r.Connections() == 12 })
		if len(e.Waiting) != 8 || e.More != 4 || e.Open || e.Slots != 0 || e.Running != nil {
			t.Errorf("%+v, want 8 connections and 4 more", e)
		}
		for i, a := range e.Waiting {
			if a.Conn < 1 || a.Conn > 12 || a.Unsent < 5000 || a.Reader ||
				i > 0 && a.Unsent > e.Waiting[i-1].Unsent {
				t.Errorf("%+v is named, want blocked clients, most unsent bytes first", a)
			}
		}
		says(t, e, "drain not finished: context canceled", " B unsent", "and 4 more")
		r.nothingLeft()
	})
}

func TestDrainErrorNamesUnacknowledgedBytes(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		if w.family == "unix" {
			t.Skip("bytes in a unix socket can be read after its close")
		}
		r := newRig(t, w, func(c *Config) { c.MaxFrame = 8192 })
		_, fd := r.pair(socket{small: true})
		r.must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 400<<10))
		r.watch.add(fd, 1)
		r.must(r.Connect(Conn{ID: 1, FD: fd}))
		r.report(1, 0, 20, 5000)
		r.persist()
		r.until("the kernel has taken everything",
			func() bool { return r.count(telemetry.EgressFramesSent) == 20 })
		ctx, cancel := context.WithCancel(context.Background())
		r.Slots().Close()
		drained := make(chan error, 1)
		go func() { drained <- r.Drain(ctx) }()
		r.until("the drain waits for the client", func() bool {
			top, _, err := r.Top(context.Background(), ByLag, 1)
			return err == nil && len(top) == 1 && top[0].Lag > 0
		})
		cancel()
		e := r.unfinished(<-drained, context.Canceled)
		if len(e.Waiting) != 1 || e.Waiting[0].Conn != 1 || e.Waiting[0].Unacked < 5000 {
			t.Errorf("%+v, want connection 1 with unacknowledged bytes", e.Waiting)
		}
		says(t, e, "connections not done: 1 (", " B unacknowledged")
		r.nothingLeft()
	})
}

func TestDrainErrorNamesReaders(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		r.dial(1, socket{held: true})
		r.Slots().Close()
		ctx, cancel := context.WithCancel(context.Background())
		drained := make(chan error, 1)
		go func() { drained <- r.Drain(ctx) }()
		r.untilClosed(1, transport.ReasonShutdown)
		cancel()
		r.wantsReaderAwaited(<-drained, "drain", context.Canceled)
		r.Disconnect(1, 0, transport.ReasonPeerClosed)
		r.nothingLeft()
	})
}

func TestDrainErrorNamesSlotsAndTheOpenRing(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		c := r.dial(1, socket{})
		r.report(1, 0, 1, 20)
		r.persist()
		c.wants(0, 1)
		r.report(1, 1, 3, 20)
		r.Slots().Close()
		e := r.drainFor(50 * time.Millisecond)
		if e.Slots != 3 || e.Seq != 2 || e.Open {
			t.Errorf("%+v, want 3 slots from seq 2 on", e)
		}
		says(t, e, "3 slots were not durable, from seq 2 on")
		r.nothingLeft()

		r = newRig(t, w, nil)
		r.dial(1, socket{})
		e = r.drainFor(50 * time.Millisecond)
		if !e.Open || e.Slots != 0 {
			t.Errorf("%+v, want that the ring is open", e)
		}
		says(t, e, "Slots().Close")
		r.nothingLeft()
	})
}

// A drain that delivered everything succeeds although a Stop follows; one that did not, does not.
func TestDrainOvertakenByStop(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		r.dial(1, socket{})
		r.report(1, 0, 1, 20) // never durable
		drained := r.draining()
		r.until("it drains", func() bool { return r.phase.Ending() })
		r.must(r.Stop(patiently(t)))
		e := r.unfinished(<-drained, ErrOvertaken)
		if e.Slots != 1 {
			t.Errorf("%+v, want 1 slot", e)
		}
		r.nothingLeft()

		r = newRig(t, w, nil)
		r.drain()
		r.must(r.Stop(context.Background()))
		r.must(r.Drain(context.Background()))
	})
}

// hangingEncoder does not return until the test lets it.
type hangingEncoder struct {
	tickEncoder
	entered, release chan struct{}
}

func (e hangingEncoder) AppendReport(dst []byte, r *tick) ([]byte, error) {
	e.entered <- struct{}{}
	<-e.release
	return e.tickEncoder.AppendReport(dst, r)
}

// An end returns although the encoder does not, and names its goroutine. Its context may have no
// deadline.
func TestEndReturnsAlthoughTheEncoderHangs(t *testing.T) {
	for _, placement := range []Placement{PlacementFused, PlacementSpread} {
		for name, end := range map[string]func(*Pipeline[tick, struct{}]) error{
			"stop":  func(p *Pipeline[tick, struct{}]) error { return p.Stop(context.Background()) },
			"fence": func(p *Pipeline[tick, struct{}]) error { return p.Fence(context.Background()) },
			"drain": func(p *Pipeline[tick, struct{}]) error {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
				defer cancel()
				return p.Drain(ctx)
			},
		} {
			t.Run(placement.String()+"/"+name, func(t *testing.T) {
				t.Parallel() // it only waits
				e := hangingEncoder{entered: make(chan struct{}), release: make(chan struct{})}
				cursors := durability.NewCursors(2)
				p, err := Open(Config{Policy: durability.Local(), IO: transport.ModePoll, Shards: 1,
					Placement: placement, Log: new(logBook).logger()}, e, cursors)
				if err != nil {
					t.Fatal(err)
				}
				s := &stage{Pipeline: p, t: t, cursors: cursors}
				s.client(1)
				s.publish(1, tick{}, func(*Slot[tick, struct{}]) {})
				cursors.SetPersisted(1)
				<-e.entered
				if err := p.Err(); err != nil {
					t.Errorf("Err of a running pipeline: %v", err)
				}
				err = end(p)
				var unfinished *DrainError
				if !errors.As(err, &unfinished) || !errors.Is(err, context.DeadlineExceeded) ||
					!strings.Contains(strings.Join(unfinished.Running, ";"), "encode") {
					t.Errorf("%v, want one that names the encoder's goroutine", err)
				}
				close(e.release)
				<-p.Ended()
				s.Slots().Close()
			})
		}
	}
}

// lateTimer is a context whose deadline has come, and whose timer has not fired yet.
type lateTimer struct{ context.Context }

func (lateTimer) Deadline() (time.Time, bool) { return time.Now().Add(-time.Microsecond), true }

// A lone end whose actors see its deadline first is not said to be overtaken by another one.
func TestDeadlineBeforeItsTimerIsTheCause(t *testing.T) {
	r := newRig(t, way{transport.ModePoll, "unix"}, nil)
	r.must(r.Stop(patiently(t)))
	r.nothingLeft()
	if err := r.cause(lateTimer{context.Background()}); err != context.DeadlineExceeded {
		t.Errorf("the cause is %v", err)
	}
	if err := r.cause(context.Background()); err != ErrOvertaken {
		t.Errorf("without a deadline, the cause is %v", err)
	}
}
