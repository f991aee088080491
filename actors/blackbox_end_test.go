package actors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/durability"
	"sluice/telemetry"
	"sluice/transport"
)

// stuck brings a rig into the worst state to end in: the gate is shut with slots behind it, one
// client reads nothing and has bytes waiting, one is idle, one is half-closed and still owed a
// response.
func stuck(t *testing.T, w way, placement Placement) (r *rig, blocked *client) {
	t.Helper()
	r = newRig(t, w, func(c *Config) { c.MaxFrame, c.Placement = 8192, placement })
	blocked = r.dial(1, socket{small: true})
	r.dial(2, socket{})
	half := r.dial(3, socket{})
	half.ask(1)
	half.halfClose()
	r.until("the reader saw the half-close", func() bool {
		return r.count(telemetry.ControlDisconnected) == 1
	})
	r.report(1, 0, 50, 7000)
	r.persist()
	r.until("the client is blocked", func() bool {
		return r.gauge(telemetry.EgressBlockedConnections) == 1
	})
	r.each([]uint64{1, 2, 3, 99}, func(_ int, s *Slot[tick, struct{}]) {})
	r.atGate(4)
	return r, blocked
}

func eachPlacement(t *testing.T, test func(t *testing.T, w way, p Placement)) {
	for _, p := range []Placement{PlacementFused, PlacementFront, PlacementSpread} {
		t.Run(p.String(), func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) { test(t, w, p) })
		})
	}
}

func TestStopEndsWithGateShutAndClientBlocked(t *testing.T) {
	eachPlacement(t, func(t *testing.T, w way, p Placement) {
		r, blocked := stuck(t, w, p)
		r.stop()
		if n := blocked.prefix(0); n >= 50 {
			t.Errorf("the client that read nothing got %d responses of 50", n)
		}
		if n := r.dropped(telemetry.DropShutdown); n < 4 {
			t.Errorf("%d slots dropped by the stop, want at least those behind the gate", n)
		}
	})
}

func TestFenceEndsWithGateShutAndClientBlocked(t *testing.T) {
	eachPlacement(t, func(t *testing.T, w way, p Placement) {
		r, blocked := stuck(t, w, p)
		r.fence()
		blocked.prefix(0)
	})
}

func TestDrainStopsAtItsDeadline(t *testing.T) {
	eachPlacement(t, func(t *testing.T, w way, p Placement) {
		r, blocked := stuck(t, w, p)
		r.Slots().Close()
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := r.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a drain that could not finish returned %v, want its deadline", err)
		}
		r.nothingLeft()
		blocked.prefix(0)
	})
}

func TestDrainWaitsForDurabilityAndSlowReaders(t *testing.T) {
	eachPlacement(t, func(t *testing.T, w way, p Placement) {
		r, blocked := stuck(t, w, p)
		drained := r.draining()
		r.persist()
		blocked.wants(0, 50)
		blocked.wants(0, 1)
		blocked.wantsEnd()
		if err := <-drained; err != nil {
			t.Errorf("drain: %v", err)
		}
		r.nothingLeft()
	})
}

func TestReaderThatKeepsItsSocketDelaysTheEndUntilTheDeadline(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		for name, end := range map[string]func(*rig, context.Context) error{
			"stop":  func(r *rig, ctx context.Context) error { return r.Stop(ctx) },
			"fence": func(r *rig, ctx context.Context) error { return r.Fence(ctx) },
		} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, w, nil)
				c := r.dial(1, socket{held: true})
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
				defer cancel()
				r.wantsReaderAwaited(end(r, ctx), name, context.DeadlineExceeded)
				c.wantsEnd()
				if n := r.Connections(); n != 0 {
					t.Errorf("%d permits are still in use", n)
				}
				// now the socket itself can be closed
				r.Disconnect(1, 0, transport.ReasonPeerClosed)
				r.must(end(r, context.Background())) // nothing is left
				r.nothingLeft()
			})
		}
	})
}

// A stop or fence whose context is cancelled ends by force at once, although its deadline is an
// hour away.
func TestEndsHonourCancellation(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		for name, end := range map[string]func(*rig, context.Context) error{
			"stop":  func(r *rig, ctx context.Context) error { return r.Stop(ctx) },
			"fence": func(r *rig, ctx context.Context) error { return r.Fence(ctx) },
		} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, w, nil)
				c := r.dial(1, socket{held: true}) // its reader does not release it
				ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
				defer cancel()
				ended := make(chan error, 1)
				go func() { ended <- end(r, ctx) }()
				c.wantsEnd() // the end is under way, and waits for the reader
				cancel()
				select {
				case err := <-ended:
					r.wantsReaderAwaited(err, name, context.Canceled)
				case <-time.After(patience):
					t.Fatal("it waits for the deadline")
				}
				r.Disconnect(1, 0, transport.ReasonPeerClosed)
				r.nothingLeft()
			})
		}
	})
}

// patiently is the context of an end that waits for slow readers, too.
func patiently(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// A drain that another end overtakes has not delivered everything; the ends that want no more than an
// end succeed.
func TestEndsAtTheSameTimeAllReturn(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		r.dialAll(1, 4, socket{})
		ends, drained := make(chan error, 3), make(chan error, 1)
		go func() { ends <- r.Stop(patiently(t)) }()
		go func() { ends <- r.Fence(patiently(t)) }()
		go func() { ends <- r.Stop(patiently(t)) }()
		go func() { drained <- r.Drain(context.Background()) }()
		var unfinished *DrainError
		if err := <-drained; !errors.Is(err, ErrOvertaken) || !errors.As(err, &unfinished) {
			t.Errorf("the drain returned %v, want that it was overtaken", err)
		}
		for range cap(ends) {
			if err := <-ends; err != nil {
				t.Error(err)
			}
		}
		r.nothingLeft()
	})
}

func TestConnectsDuringTheEndAllReturn(t *testing.T) {
	eachPlacement(t, func(t *testing.T, w way, p Placement) {
		r := newRig(t, w, func(c *Config) { c.Placement = p })
		const n = 64
		fds := make([]int, n)
		for i := range fds {
			_, fds[i] = r.pair(socket{})
		}
		answered := make(chan error, n)
		var begun atomic.Int64
		for i, fd := range fds {
			go func() {
				begun.Add(1)
				err := r.Connect(Conn{ID: uint64(i + 1), FD: fd, WriteOnly: i%2 == 0})
				switch {
				case err != nil:
					unix.Close(fd) // still ours
				case i%2 == 1:
					r.Disconnect(uint64(i+1), 0, transport.ReasonPeerClosed)
				}
				answered <- err
			}()
		}
		r.until("some are on their way", func() bool { return begun.Load() > n/2 })
		r.must(r.Stop(patiently(t)))
		for range n {
			if err := <-answered; err != nil && !errors.Is(err, ErrEnded) {
				t.Error(err)
			}
		}
		r.nothingLeft()
	})
}

// failingSource is a durability source that panics on demand, on the gate's goroutine.
type failingSource struct {
	*durability.Cursors
	broken atomic.Bool
}

func (s *failingSource) Snapshot(v *durability.View) bool {
	if s.broken.Load() {
		panic("planted in the source")
	}
	return s.Cursors.Snapshot(v)
}

func TestPanicInAnActorEndsThePipelineAndNamesActorAndStack(t *testing.T) {
	eachPlacement(t, func(t *testing.T, w way, p Placement) {
		source := &failingSource{Cursors: durability.NewCursors(0)}
		failed := make(chan error, 1)
		cfg := Config{Policy: durability.Local(), IO: w.engine, Shards: 2, Placement: p,
			Log: (new(logBook)).logger(), OnFail: func(err error) { failed <- err }}
		pipeline, err := Open(cfg, askEncoder{}, source)
		if err != nil {
			t.Fatal(err)
		}
		rest := newRig(t, w, nil) // lends its sockets
		c, fd := rest.pair(socket{})
		rest.must(pipeline.Connect(Conn{ID: 1, FD: fd, WriteOnly: true}))
		source.broken.Store(true)
		source.SetPersisted(1) // wakes the gate
		eventually(t, "the pipeline ends", func() bool { return isClosed(pipeline.Ended()) })
		err = <-failed
		var panicked *PanicError
		if !errors.As(err, &panicked) || panicked.Actor != "gate" ||
			!strings.Contains(string(panicked.Stack), "Snapshot") {
			t.Errorf("the pipeline ended with %v, want the gate's panic with its stack", err)
		}
		if err := pipeline.Err(); !errors.As(err, &panicked) {
			t.Errorf("Err says %v", err)
		}
		c.wantsEnd()
		if n := pipeline.Connections(); n != 0 {
			t.Errorf("%d permits are still in use", n)
		}
		if err := pipeline.Connect(Conn{ID: 2, FD: 0}); !errors.Is(err, ErrEnded) {
			t.Errorf("Connect afterwards: %v, want ErrEnded", err)
		}
		rest.stop()
	})
}

// A gate that panicked releases nothing more: a wait for it ends with the pipeline.
func TestPassedReturnsAfterThePanicOfTheGate(t *testing.T) {
	source := &failingSource{Cursors: durability.NewCursors(0)}
	source.broken.Store(true)
	cfg := Config{Policy: durability.Local(), IO: transport.ModePoll, Shards: 1, Log: (new(logBook)).logger()}
	pipeline, err := Open(cfg, askEncoder{}, source)
	if err != nil {
		t.Fatal(err)
	}
	passed := make(chan error, 1)
	go func() { passed <- pipeline.Passed(context.Background()) }()
	eventually(t, "Passed returns", func() bool { return len(passed) > 0 })
	if err := <-passed; err != nil || !isClosed(pipeline.Ended()) {
		t.Errorf("Passed returns %v before the end of the pipeline", err)
	}
}

// A client that keeps sending while the node drains receives all its responses. Linux would close
// its socket with a reset and drop what the client has not acknowledged, so the close waits for
// that.
func TestDrainLosesNothingToClientsThatKeepSending(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) { c.MaxFrame = 8192 })
		c, fd := r.pair(socket{small: true})
		c.id = 1
		r.must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 400<<10))
		r.must(r.Connect(Conn{ID: 1, FD: fd}))
		const n = 20
		r.report(1, 0, n, 5000)
		r.persist()
		r.until("the kernel has taken everything",
			func() bool { return r.count(telemetry.EgressFramesSent) == n })
		r.Disconnect(1, 0, transport.ReasonShutdown) // what arrives from here on has no reader
		c.ask(13)
		drained := r.draining()
		select { // a drain that does not wait ends at once
		case err := <-drained:
			drained <- err
		case <-time.After(200 * time.Millisecond):
		}
		c.wants(0, n)
		c.wantsEnd()
		r.must(<-drained)
		r.nothingLeft()
	})
}

// doubtful is a ring whose Submit fails on demand, as after an io_uring_enter(2) with an unknown
// outcome.
type doubtful struct {
	transport.Ring
	broken  *atomic.Bool
	submits *atomic.Int64 // after it broke
}

func (d doubtful) Submit() error {
	if d.broken.Load() {
		d.submits.Add(1)
		return fmt.Errorf("planted: %w", transport.ErrRingInDoubt)
	}
	return d.Ring.Submit()
}

func TestTrap04FailedSubmitStopsTheShard(t *testing.T) {
	eachPlacement(t, func(t *testing.T, w way, p Placement) {
		var broken atomic.Bool
		var submits atomic.Int64
		r := newRig(t, w, func(c *Config) {
			c.Placement, c.Shards = p, 2
			c.OpenRing = func(_ int, rc transport.RingConfig) (transport.Ring, error) {
				rc.Entries = 8
				ring, _, err := transport.Open(w.engine, rc)
				return doubtful{ring, &broken, &submits}, err
			}
		})
		clients := r.dialAll(1, 8, socket{})
		r.each(ids(clients), func(_ int, s *Slot[tick, struct{}]) {})
		r.persist()
		allWant(t, clients, 0, 1)
		broken.Store(true)
		r.report(1, 1, 1, 20)
		r.persist()
		eventually(t, "the pipeline ends", func() bool { return isClosed(r.Ended()) })
		err := r.Err()
		if !errors.Is(err, transport.ErrRingInDoubt) || !strings.Contains(err.Error(), "egress-") {
			t.Errorf("the pipeline ended with %v, want the shard's name and the ring in doubt", err)
		}
		r.mu.Lock()
		if r.failure == nil {
			t.Error("OnFail was not told")
		}
		r.mu.Unlock()
		if n := submits.Load(); n > 2 {
			t.Errorf("%d more submits on a ring in doubt", n)
		}
		for _, c := range clients {
			c.wantsEnd()
		}
		r.nothingLeft()
	})
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
