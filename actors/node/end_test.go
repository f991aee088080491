package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"sluice/actors"
	"sluice/cmd/orderbook"
	"sluice/transport"
)

type situation struct {
	name string
	make func(t *testing.T, s *bookNode, at []string, v *valve)
	stay bool // the disk is held back: only a deadline ends a drain
}

func situations() []situation {
	return []situation{
		{name: "idle", make: func(*testing.T, *bookNode, []string, *valve) {}},
		{name: "with clients", make: func(t *testing.T, s *bookNode, at []string, _ *valve) {
			for i := range 20 {
				c := dial(t, "tcp", at[0])
				c.command(order(uint64(i+1), 1, orderbook.Buy, 100, 1))
				c.expect(fmt.Sprintf("accepted 1 seq=%d", i+1), "end")
			}
		}},
		{name: "handshakes half done", make: func(t *testing.T, s *bookNode, at []string, _ *valve) {
			for range 20 {
				c, err := net.Dial("tcp", at[2])
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
			}
			until(t, "handshakes", func() bool { return s.listener.Counters().Handshakes == 20 })
		}},
		{name: "a frame half sent", make: func(t *testing.T, s *bookNode, at []string, _ *valve) {
			c := dial(t, "tcp", at[0])
			if _, err := c.conn.NetConn().Write([]byte{50, 0, 0, 0, 1}); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "a client that reads nothing",
			make: func(t *testing.T, s *bookNode, at []string, _ *valve) {
				c := dial(t, "unix", at[1])
				for i := uint64(1); i <= 5000; i++ {
					c.seq = i
					cmd := order(1, i, orderbook.Buy, 100, 1)
					_ = c.conn.Send(i, cmd.Tag, body(cmd))
				}
				if err := c.conn.Flush(); err != nil {
					t.Fatal(err)
				}
				until(t, "all events", func() bool { return s.sequencer.Sequenced() == 5000 })
			}},
		{name: "the disk held back", stay: true,
			make: func(t *testing.T, s *bookNode, at []string, v *valve) {
				v.close()
				dial(t, "tcp", at[0]).command(order(1, 1, orderbook.Buy, 100, 1))
				<-v.held
			}},
		{name: "the disk held back and every ring full", stay: true,
			make: func(t *testing.T, s *bookNode, at []string, v *valve) {
				v.close()
				for i, c := range []*trader{dial(t, "tcp", at[0]), dial(t, "tcp", at[0]),
					dial(t, "unix", at[1])} {
					go func() { // until the socket is closed
						for n := uint64(1); ; n++ {
							cmd := order(uint64(i+1), n, orderbook.Buy, 100, 1)
							if c.conn.Send(n, cmd.Tag, body(cmd)) != nil || c.conn.Flush() != nil {
								return
							}
						}
					}()
					t.Cleanup(func() { c.conn.Close() })
				}
				<-v.held
				until(t, "a reader that waits for room",
					func() bool { return s.queue.Len() > s.cfg.QueueBytes*9/10 })
			}},
	}
}

// Every end returns within its deadline from every situation, and leaves nothing behind.
func TestEndsFromEverySituation(t *testing.T) {
	for _, end := range []struct {
		name string
		call func(*bookNode, context.Context) error
	}{{"drain", (*bookNode).Drain}, {"stop", (*bookNode).Stop}, {"fence", (*bookNode).Fence}} {
		for _, sit := range situations() {
			t.Run(end.name+" "+sit.name, func(t *testing.T) {
				leaks(t)
				v := newValve()
				log := &lines{}
				cfg := config(t.TempDir(), transport.ModeAuto, log)
				cfg.Listen.Endpoints = append(cfg.Listen.Endpoints, withKeys(t, &cfg))
				cfg.Journal.BeforeSync = v.beforeSync
				cfg.Pipeline.Limits = []transport.Limits{transport.DefaultLimits()}
				cfg.Pipeline.Limits[0].NoProgress = 300 * time.Millisecond // a drain waits for a client no longer than that
				cfg.QueueBytes, cfg.Pipeline.Slots, cfg.Journal.RingBytes = 1<<14, 1<<8, 1<<14
				s, at := serve(t, cfg)
				defer func() { v.open(); unlocked(t, cfg.DataDir) }() // its directory is removed after that
				sit.make(t, s, at, v)
				limit := patience
				if sit.stay {
					limit = 400 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(context.Background(), limit)
				defer cancel()
				began := time.Now()
				err := end.call(s, ctx)
				if took := time.Since(began); took > limit+s.cfg.FailTimeout {
					t.Errorf("took %v of %v", took, limit)
				} else if sit.stay {
					t.Logf("took %v of %v: %v", took, limit, err)
				}
				if sit.stay != (err != nil) {
					t.Errorf("error %v, want one only where the disk is held back\n%s", err, log)
				}
				var unfinished *actors.DrainError
				if sit.stay && end.name == "drain" && (!errors.As(err, &unfinished) ||
					unfinished.Slots == 0 || unfinished.Seq != 1) {
					t.Errorf("error %v, want the slots that were not durable", err)
				}
				if s.Ready() {
					t.Error("still ready")
				}
				if err2 := s.Stop(context.Background()); !errors.Is(err2, err) {
					t.Errorf("a second end gives %v, the first gave %v", err2, err)
				}
			})
		}
	}
}

// A drain answers what was accepted, although clients go on sending.
func TestDrainAnswersAcceptedRequests(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		v := newValve()
		cfg := config(t.TempDir(), mode, os.Stderr)
		cfg.Journal.BeforeSync = v.beforeSync
		s, at := serve(t, cfg)
		t.Cleanup(v.open)
		c := dial(t, "tcp", at[0])
		v.close()
		for i := uint64(1); i <= 100; i++ {
			c.command(order(1, i, orderbook.Buy, 100, 1))
		}
		until(t, "all events", func() bool { return s.sequencer.Sequenced() == 100 })
		done := make(chan struct{})
		go func() { defer close(done); drain(t, s) }()
		until(t, "the drain to begin", func() bool { return !s.Ready() })
		v.open()
		for i := 1; i <= 100; i++ {
			c.expect(fmt.Sprintf("accepted %d seq=%d", i, i), "end")
		}
		c.expect("close: shutdown")
		<-done
	})
}

// An operator's drain has an hour, the service manager has not.
func TestShorterDrainEndsLongerOne(t *testing.T) {
	for name, end := range map[string]func(*bookNode, context.Context) error{"stop": (*bookNode).Stop, "drain": (*bookNode).Drain} {
		t.Run(name, func(t *testing.T) {
			v := newValve()
			cfg := config(t.TempDir(), transport.ModePoll, &lines{})
			cfg.Journal.BeforeSync = v.beforeSync
			leaks(t)
			s, at := serve(t, cfg)
			t.Cleanup(func() { v.open(); unlocked(t, cfg.DataDir) })
			v.close()
			dial(t, "tcp", at[0]).command(order(1, 1, orderbook.Buy, 100, 1))
			<-v.held
			long := make(chan error, 1)
			go func() { long <- s.Drain(context.Background()) }() // for ever, as the disk is held back
			until(t, "the drain to begin", func() bool { return !s.Ready() })
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			short := end(s, ctx)
			select {
			case err := <-long:
				if err == nil || !errors.Is(short, err) {
					t.Errorf("the longer gives %v, the shorter %v; want one error, that not "+
						"everything was delivered", err, short)
				}
			case <-time.After(patience):
				t.Fatal("the longer drain goes on")
			}
		})
	}
}

// A cancelled context ends the opening during the recovery.
func TestOpenHonoursCancellation(t *testing.T) {
	leaks(t)
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	s, at := serve(t, cfg)
	c := dial(t, "tcp", at[0])
	c.command(order(1, 1, orderbook.Buy, 100, 1))
	c.expect("accepted 1 seq=1", "end")
	drain(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	cfg.Application = newFull
	if n, err := Open(ctx, cfg); n != nil || !errors.Is(err, context.Canceled) {
		t.Fatalf("opened %v with error %v, want none, because the context was cancelled", n, err)
	}
	serve(t, cfg) // nothing is locked
}

// Wait drains when its context ends, and reports a failure that comes before.
func TestWaitDrains(t *testing.T) {
	leaks(t)
	s, at := serve(t, config(t.TempDir(), transport.ModePoll, &lines{}))
	c := dial(t, "tcp", at[0])
	ctx, cancel := context.WithCancel(context.Background())
	waited := make(chan error, 1)
	go func() { waited <- s.Wait(ctx) }()
	c.command(order(1, 1, orderbook.Buy, 100, 1))
	c.expect("accepted 1 seq=1", "end")
	if !s.Ready() {
		t.Error("the node ends although its context has not ended")
	}
	cancel()
	if err := <-waited; err != nil {
		t.Errorf("the drain failed: %v", err)
	}
	c.expect("close: shutdown")

	s, _ = serve(t, config(t.TempDir(), transport.ModePoll, &lines{}))
	s.fail(errors.New("planted"))
	if err := s.Wait(context.Background()); err == nil || err.Error() != "planted" {
		t.Errorf("error %v, want the failure", err)
	}
}
