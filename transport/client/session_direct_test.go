package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/transport/wire"
)

// direct is the script of a server that does not lead: it sends the client to an address and fails the
// test if it receives a request.
func (p *peer) direct(to string) error {
	frames := wire.AppendClose(nil, wire.Close{Reason: wire.CloseNotLeader, Address: to,
		RetryAfter: 100 * time.Millisecond})
	if err := errors.Join(p.welcome(wire.ServerReady{}), p.send([]byte(wire.Heartbeat), frames)); err != nil {
		return err
	}
	if r, err := p.request(); err == nil {
		return fmt.Errorf("a server that does not lead received request %d", r.Seq)
	}
	return nil
}

// answers is the script of the leader: it executes every request.
func (p *peer) answers(executed *atomic.Int64) error {
	err := p.admit(wire.ServerReady{})
	for err == nil {
		var r wire.Request
		if r, err = p.request(); err != nil {
			return nil
		}
		executed.Add(1)
		err = p.send(frame(0x30, string(r.Body)), endOf(r.Seq))
	}
	return err
}

// Of three servers only the last leads, and it is not in the client's list.
func TestSessionGoesToTheLeader(t *testing.T) {
	for name, to := range map[string]string{"in the list": "c:1", "elsewhere": "d:1"} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			var executed atomic.Int64
			inWorld(t, SessionOptions{}, []string{"a:1", "b:1", "c:1"}, func(_ int, at string, p *peer) error {
				if at == to {
					return p.answers(&executed)
				}
				return p.direct(to)
			}, func(w *world) {
				r, err := wait(w.start("x")) // waits for the leader
				if err != nil || r.Request != 1 || executed.Load() != 1 {
					t.Errorf("%+v, %v, executed %d times", r, err, executed.Load())
				}
				if want := []string{"a:1 at 0s", to + " at 0s"}; !slices.Equal(w.dialled, want) {
					t.Errorf("%q, want %q", w.dialled, want)
				}
				var end *CloseError
				if s := w.last(Disconnected); !s.Directed || s.Next != to || s.In != 0 || s.Address != "a:1" ||
					!errors.As(s.Err, &end) || end.Reason != wire.CloseNotLeader || end.Address != to {
					t.Errorf("%+v", s)
				}
				if s := w.last(Ready); s.Address != to {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// The leader ends: the request under way has an unknown outcome, unless the leader has answered all that
// it executed; those that wait are sent at the new place, each once.
func TestRequestsWaitForTheNewLeader(t *testing.T) {
	for name, answered := range map[string]bool{"answered": true, "deposed": false} {
		t.Run(name, func(t *testing.T) { testNewLeader(t, answered) })
	}
}

func testNewLeader(t *testing.T, answered bool) {
	var executed atomic.Int64
	inWorld(t, SessionOptions{Window: 1}, []string{"a:1"}, func(_ int, at string, p *peer) error {
		if at == "b:1" {
			return p.answers(&executed)
		}
		err := p.admit(wire.ServerReady{})
		if _, lost := p.requests(1); err == nil {
			err = lost
		}
		elapse(time.Second)
		return errors.Join(err, p.send(wire.AppendClose(nil, wire.Close{Reason: wire.CloseElsewhere,
			RetryAfter: 100 * time.Millisecond, Address: "b:1", Answered: answered})))
	}, func(w *world) {
		first := w.start("first")
		later := make(chan error, 3)
		for range cap(later) {
			go func() {
				_, err := w.Do(context.Background(), 0x10, []byte("later"))
				later <- err
			}()
		}
		var end *CloseError
		if _, err := wait(first); errors.Is(err, ErrUnknownOutcome) == answered ||
			errors.Is(err, ErrNotSent) != answered || !errors.As(err, &end) || end.Address != "b:1" {
			t.Errorf("under way: %v", err)
		}
		for range cap(later) {
			if err := <-later; err != nil {
				t.Errorf("not sent before: %v", err)
			}
		}
		if executed.Load() != 3 || w.attempts() != 2 {
			t.Errorf("%d requests executed, %q", executed.Load(), w.dialled)
		}
	})
}

func TestSessionComesBackUntilThereIsALeader(t *testing.T) {
	var executed atomic.Int64
	var elected atomic.Bool
	inWorld(t, SessionOptions{}, []string{"a:1", "b:1", "c:1"}, func(_ int, at string, p *peer) error {
		if elected.Load() && at == "b:1" {
			return p.answers(&executed)
		}
		return p.direct("")
	}, func(w *world) {
		synctest.Wait()
		if w.attempts() != 3 {
			t.Errorf("%q, want one at each address at once", w.dialled)
		}
		elapse(5 * time.Second)
		if n := w.attempts(); n < 6 || n > 30 {
			t.Errorf("%d attempts in 5 s: %q", n, w.dialled)
		}
		if _, err := w.Ready(expired()); !strings.Contains(err.Error(), "not_leader (come back after 100ms)") {
			t.Error(err)
		}
		elected.Store(true)
		if _, err := wait(w.start("x")); err != nil || executed.Load() != 1 {
			t.Errorf("%v, executed %d times", err, executed.Load())
		}
		last := map[string]time.Duration{}
		for _, text := range w.dialled { // nowhere before the server's retry_after
			at, text, _ := strings.Cut(text, " at ")
			when, err := time.ParseDuration(text)
			if before, ok := last[at]; err != nil || ok && when-before < 100*time.Millisecond {
				t.Errorf("%s at %v, after %v (%v)", at, when, before, err)
			}
			last[at] = when
		}
	})
}

// expired is a context that has ended.
func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// Two servers send the client to each other. One of them has a reason that changes at once.
func TestServersThatDirectToEachOtherAreNotHammered(t *testing.T) {
	for _, admits := range []bool{false, true} {
		t.Run(fmt.Sprint("admits ", admits), func(t *testing.T) {
			o := SessionOptions{MinBackoff: time.Second, MaxBackoff: 8 * time.Second}
			inWorld(t, o, []string{"a:1"}, func(_ int, at string, p *peer) error {
				to := map[string]string{"a:1": "b:1", "b:1": "a:1"}[at]
				if !admits {
					return p.direct(to)
				}
				return errors.Join(p.admit(wire.ServerReady{}), p.send(wire.AppendClose(nil,
					wire.Close{Reason: wire.CloseElsewhere, Address: to})))
			}, func(w *world) {
				elapse(100 * time.Second)
				if n := w.attempts(); n < 100/8 || n > 30 {
					t.Errorf("%d attempts in 100 s", n)
				}
				_, err := w.Ready(expired())
				if err != nil && !strings.Contains(err.Error(), `(go to "`) || err == nil && !admits {
					t.Error(err)
				}
				if s := w.last(Disconnected); !s.Directed || s.In > 8*time.Second || s.In < 4*time.Second {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// What a server names may be gone, or never respond.
func TestUnreachableLeaderFallsBackToTheList(t *testing.T) {
	for _, to := range []string{"dead:1", "hangs:1", "b:1"} {
		t.Run(to, func(t *testing.T) {
			var executed atomic.Int64
			inWorld(t, SessionOptions{DialTimeout: time.Second}, []string{"a:1", "b:1", "c:1"},
				func(_ int, at string, p *peer) error {
					switch {
					case at == "hangs:1" || at == "b:1" && to == "b:1":
						return p.drain()
					case at == "a:1":
						return p.direct(to)
					}
					return p.answers(&executed)
				}, func(w *world) {
					if _, err := wait(w.start("x")); err != nil || executed.Load() != 1 {
						t.Fatalf("%v, executed %d times", err, executed.Load())
					}
					next := "b:1"
					if to == next {
						next = "c:1"
					}
					if s := w.last(Ready); s.Address != next || w.attempts() != 3 {
						t.Errorf("%+v after %q", s, w.dialled)
					}
					if s := w.last(Disconnected); s.Address != to || s.Directed {
						t.Errorf("%+v", s)
					}
				})
		})
	}
}

func TestServerThatDoesNotLeadMustSayWhereToGo(t *testing.T) {
	for name, v := range map[string]struct {
		script func(p *peer) error
		want   string
	}{
		"silent":  {(*peer).drain, "does not lead, and has not said where to go"},
		"a frame": {func(p *peer) error { return errors.Join(p.send(endOf(1)), p.drain()) }, "tag 0x02 from a server"},
		"the end": {func(p *peer) error { return nil }, "EOF"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			var executed atomic.Int64
			inWorld(t, SessionOptions{}, []string{"a:1", "b:1"}, func(_ int, at string, p *peer) error {
				if at == "b:1" {
					return p.answers(&executed)
				}
				if err := p.welcome(wire.ServerReady{}); err != nil {
					return err
				}
				return v.script(p)
			}, func(w *world) {
				if _, err := wait(w.start("x")); err != nil || executed.Load() != 1 {
					t.Errorf("%v, executed %d times", err, executed.Load())
				}
				if s := w.last(Disconnected); !strings.Contains(s.Err.Error(), v.want) || w.attempts() != 2 {
					t.Errorf("%v, want %q; %q", s.Err, v.want, w.dialled)
				}
			})
		})
	}
}

func TestAddressesThatAreNotFollowed(t *testing.T) {
	for name, v := range map[string]struct {
		pinned bool
		from   string
		to     string
		follow bool
	}{
		"pinned, another":        {true, "a:1", "x:1", false},
		"pinned, in the list":    {true, "a:1", "c:1", true},
		"another":                {false, "a:1", "x:1", true},
		"a socket, over TCP":     {false, "a:1", "/run/x", false},
		"a socket of the list":   {false, "a:1", "/run/c", true},
		"a socket, from another": {false, "/run/a", "/run/x", true},
		"TCP, from a socket":     {false, "/run/a", "x:1", true},
		"control characters":     {false, "a:1", "x:1\x1b[2J", false},
		"not UTF-8":              {false, "a:1", "x\xff:1", false},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			var executed atomic.Int64
			inWorld(t, SessionOptions{Pinned: v.pinned}, []string{v.from, "b:1", "c:1", "/run/c"},
				func(_ int, at string, p *peer) error {
					if at == v.from {
						return p.direct(v.to)
					}
					return p.answers(&executed)
				}, func(w *world) {
					if _, err := wait(w.start("x")); err != nil {
						t.Error(err)
					}
					if s := w.last(Ready); (s.Address == v.to) != v.follow || !v.follow && s.Address != "b:1" {
						t.Errorf("%+v", s)
					}
				})
		})
	}
	o := SessionOptions{}
	if err := o.checkAddress("leader"); err == nil {
		t.Error("an address without a port is followed")
	}
}

func TestOnceFollowsUntilItWasReady(t *testing.T) {
	for name, v := range map[string]struct {
		to   string
		want error // nil: the request is executed
	}{"leader": {"b:1", nil}, "no leader": {"", ErrNotSent}, "unreachable": {"dead:1", ErrNotSent}} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			var executed atomic.Int64
			inWorld(t, SessionOptions{Once: true}, []string{"a:1", "c:1"}, func(k int, at string, p *peer) error {
				if at == "a:1" {
					return p.direct(v.to)
				}
				err := p.admit(wire.ServerReady{})
				n, lost := p.requests(1)
				if lost == nil {
					executed.Add(1)
					err = errors.Join(err, p.send(endOf(n[0]), wire.AppendClose(nil,
						wire.Close{Reason: wire.CloseElsewhere, Address: "a:1"})))
				}
				return err
			}, func(w *world) {
				if _, err := w.Do(context.Background(), 0x10, nil); !errors.Is(err, v.want) {
					t.Errorf("%v, want %v", err, v.want)
				}
				if s := w.last(Ended); v.want == nil && s.Address != "b:1" || w.attempts() > 2 {
					t.Errorf("%+v after %q", s, w.dialled)
				}
			})
		})
	}
}

func TestPlanFollowsDirections(t *testing.T) {
	p := newPlan([]string{"a", "b", "c"}, time.Second, time.Minute, func() float64 { return 1 })
	now := time.Now()
	for i, v := range []struct {
		to     string
		again  time.Duration
		served time.Duration
		next   string
		wait   time.Duration
	}{
		{"x", 0, 0, "x", 0},                              // the first direction is followed at once
		{"y", 0, 0, "y", time.Second},                    // further ones are not
		{"x", 0, 0, "x", 2 * time.Second},                // and wait longer
		{"", 0, 0, "b", 0},                               // an address that cannot be reached: the list
		{"x", time.Hour, 0, "x", 0},                      // b, which must not be visited for an hour
		{"y", 0, time.Second, "y", 0},                    // x served
		{"x", 0, time.Millisecond, "x", time.Second},     // y served too briefly
		{"b", 0, 0, "b", time.Hour},                      // what b asked for holds
		{"x", 10 * time.Second, time.Minute, "x", 0},     // b served
		{"", 0, 0, "c", 0},                               // the failures have been forgotten
		{"", 0, 0, "a", 0}, {"", 0, 0, "c", time.Second}, // b excluded
		{"a", 0, 0, "a", 0}, {"", 0, 0, "c", time.Second}, // it was no failure of c's
		{"", 0, 0, "a", time.Second}, {"", 0, 0, "c", 2 * time.Second}, // a second round
	} {
		err := error(&CloseError{wire.Close{RetryAfter: v.again, Address: v.to}})
		if wait := p.failed(err, v.to, now, v.served); p.address != v.next || wait != v.wait {
			t.Errorf("step %d: %s in %v, want %s in %v", i, p.address, wait, v.next, v.wait)
		}
	}
	if len(p.earliest) != 1 {
		t.Errorf("%v", p.earliest)
	}
}
