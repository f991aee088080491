package node

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"sluice/cmd/orderbook"
	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

func TestBothSidesOfATradeAreAnswered(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		leaks(t)
		s, at := serve(t, config(t.TempDir(), mode, os.Stderr))
		seller, buyer := dial(t, "tcp", at[0]), dial(t, "unix", at[1])
		seller.command(order(1, 1, orderbook.Sell, 100, 5))
		seller.expect("accepted 1 seq=1", "end")
		buyer.command(order(2, 1, orderbook.Buy, 101, 3))
		buyer.expect("accepted 1 seq=2", "fill 1 seq=2 3@100", "end")
		seller.expect("fill 1 seq=2 3@100")
		seller.command(position(1))
		seller.expect("position seq=2 net=-3 last=1 accepted=1", "end")
		drain(t, s)
		seller.expect("close: shutdown")
		buyer.expect("close: shutdown")
	})
}

// I1: with the disk held back not one byte of an answer arrives; then all arrive in order.
func TestNoResponseBeforeEventIsOnDisk(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		leaks(t)
		v := newValve()
		cfg := config(t.TempDir(), mode, os.Stderr)
		cfg.Journal.BeforeSync = v.beforeSync
		s, at := serve(t, cfg)
		t.Cleanup(v.open)
		c := dial(t, "tcp", at[0])
		c.command(order(1, 1, orderbook.Buy, 100, 5))
		c.expect("accepted 1 seq=1", "end")
		v.close()
		const n = 50
		for i := uint64(2); i < n; i++ {
			c.command(order(1, i, orderbook.Buy, 100, 5))
		}
		c.command(position(1)) // must not tell what is not on disk either
		<-v.held
		until(t, "all requests to be sequenced",
			func() bool { return s.sequencer.Sequenced() == n-1 && s.queue.Len() == 0 })
		// The gate has looked at all of it once it and the encoder have gone round: a refused
		// request of another client is answered without waiting, and proves that the whole pipeline
		// has run since.
		other := dial(t, "unix", at[1])
		other.send(0x2F, nil)
		other.expect("error", "end")
		if err := c.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if tag, _, err := c.conn.Next(); err == nil {
			t.Fatalf("frame with tag 0x%02x arrived although nothing of it is on disk", tag)
		}
		v.open()
		for i := 2; i < n; i++ {
			c.expect(fmt.Sprintf("accepted %d seq=%d", i, i), "end")
		}
		c.expect(fmt.Sprintf("position seq=%d net=0 last=%d accepted=%d", n-1, n-1, n-1), "end")
		drain(t, s)
	})
}

func TestRejectedRequestsAreAnsweredInOrder(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		s, at := serve(t, config(t.TempDir(), mode, os.Stderr))
		c := dial(t, "tcp", at[0])
		for i := uint64(1); i <= 200; i++ {
			c.seq++
			good := order(1, i, orderbook.Buy, 100, 5)
			_ = c.conn.Send(c.seq, good.Tag, body(good))
			_ = c.conn.Send(c.seq, orderbook.TagNew, []byte{1, 2, 3})     // too short
			_ = c.conn.Send(c.seq, 0x2E, nil)                             // no such tag
			_ = c.conn.Send(c.seq, orderbook.TagPosition, body(good)[:8]) // a response's tag
		}
		if err := c.conn.Flush(); err != nil {
			t.Fatal(err)
		}
		for i := 1; i <= 200; i++ {
			c.expect(fmt.Sprintf("accepted %d seq=%d", i, i), "end", "error", "end", "error", "end",
				"error", "end")
		}
		if n := s.sequencer.Counts().Refused; n != 600 {
			t.Errorf("%d requests refused, want 600", n)
		}
		drain(t, s)
	})
}

func TestHalfClosedClientGetsItsResponses(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		for network := range 2 {
			s, at := serve(t, config(t.TempDir(), mode, os.Stderr))
			c := dial(t, []string{"tcp", "unix"}[network], at[network])
			for i := uint64(1); i <= 300; i++ {
				cmd := order(1, i, orderbook.Buy, 100, 5)
				if err := c.conn.Send(i, cmd.Tag, body(cmd)); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			for i := 1; i <= 300; i++ {
				c.expect(fmt.Sprintf("accepted %d seq=%d", i, i), "end")
			}
			c.expect("EOF")
			drain(t, s)
		}
	})
}

func TestRestartContinues(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		leaks(t)
		dir := t.TempDir()
		cfg := config(dir, mode, os.Stderr)
		cfg.SnapshotEvents = 7 // some runs end just after a snapshot, some do not
		seen := map[uint64]bool{}
		for run := uint64(0); run < 4; run++ {
			s, at := serve(t, cfg)
			if run != s.store.recovery.Incarnation-1 {
				t.Fatalf("incarnation %d in run %d", s.store.recovery.Incarnation, run)
			}
			c := dial(t, "tcp", at[0])
			c.command(position(1))
			c.expect(fmt.Sprintf("position seq=%d net=0 last=%d accepted=%d", run*10, run*10,
				run*10), "end")
			for i := run*10 + 1; i <= run*10+10; i++ {
				c.command(order(1, i, orderbook.Buy, 100, 5))
				c.expect(fmt.Sprintf("accepted %d seq=%d", i, i), "end")
			}
			if id := s.ids.Load(); seen[id] || id>>connBits != run+1 {
				t.Fatalf("connection id %#x in run %d", id, run)
			}
			seen[s.ids.Load()] = true
			if run%2 == 0 {
				halt(t, s) // the next run replays events
			} else {
				drain(t, s) // it begins with a snapshot of all
			}
		}
	})
}

// A resting order of an earlier run is filled. Its report reaches no client, in particular not the
// new one whose counter equals that of the old one.
func TestReportForEarlierRunReachesNoClient(t *testing.T) {
	dir := t.TempDir()
	s, at := serve(t, config(dir, transport.ModePoll, os.Stderr))
	old := dial(t, "tcp", at[0])
	old.command(order(1, 1, orderbook.Sell, 100, 5))
	old.expect("accepted 1 seq=1", "end")
	drain(t, s)
	s, at = serve(t, config(dir, transport.ModePoll, os.Stderr))
	first := dial(t, "tcp", at[0]) // the first connection, as old was
	second := dial(t, "tcp", at[0])
	second.command(order(2, 1, orderbook.Buy, 100, 5))
	second.expect("accepted 1 seq=2", "fill 1 seq=2 5@100", "end")
	first.command(position(1))
	first.expect("position seq=2 net=-5 last=1 accepted=1", "end")
	drain(t, s)
}

// A full queue stops the readers, which the clients feel; nothing is lost when the disk goes on.
func TestBackpressureReachesClients(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		v := newValve()
		cfg := config(t.TempDir(), mode, os.Stderr)
		cfg.Journal.BeforeSync = v.beforeSync
		cfg.QueueBytes, cfg.Pipeline.Slots, cfg.Journal.RingBytes = 1<<14, 1<<8, 1<<14
		s, at := serve(t, cfg)
		t.Cleanup(v.open)
		v.close()
		const n = 20000
		c := dial(t, "tcp", at[0])
		sent := make(chan error, 1)
		go func() {
			for i := uint64(1); i <= n; i++ {
				cmd := order(1, i, orderbook.Buy, 100, 1)
				if err := c.conn.Send(i, cmd.Tag, body(cmd)); err != nil {
					sent <- err
					return
				}
			}
			sent <- c.conn.Flush()
		}()
		until(t, "a reader that waits for room",
			func() bool { return s.queue.Len() > cfg.QueueBytes*9/10 })
		if got := uint64(s.sequencer.Sequenced()); got > n/2 {
			t.Fatalf("%d events were sequenced, more than the rings have room for", got)
		}
		v.open()
		for i := 1; i <= n; i++ {
			c.expect(fmt.Sprintf("accepted %d seq=%d", i, i), "end")
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		drain(t, s)
	})
}

func TestRequestsAboveRateGetServerBusy(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		cfg := config(t.TempDir(), mode, os.Stderr)
		cfg.Listen.RequestRate = listen.Rate{PerSecond: 0.001, Burst: 3}
		s, at := serve(t, cfg)
		c := dial(t, "tcp", at[0])
		for i := uint64(1); i <= 5; i++ {
			c.command(order(1, i, orderbook.Buy, 100, 1))
		}
		count := map[string]int{}
		for range 8 {
			count[c.next()]++
		}
		if count["busy"] != 2 || count["end"] != 3 || count["accepted 3 seq=3"] != 1 {
			t.Errorf("frames %v, want two busy and three answers", count)
		}
		drain(t, s)
	})
}

func TestMalformedFrameEndsConnectionWithLogLine(t *testing.T) {
	log := &lines{}
	s, at := serve(t, config(t.TempDir(), transport.ModePoll, log))
	c := dial(t, "tcp", at[0])
	c.command(order(1, 1, orderbook.Buy, 100, 1))
	c.expect("accepted 1 seq=1", "end")
	if _, err := c.conn.NetConn().Write([]byte{0xFF, 0xFF, 0xFF, 0x7F}); err != nil {
		t.Fatal(err)
	}
	if got := c.next(); got != "close: protocol_error" {
		t.Errorf("the client sees %q, want the reason", got)
	}
	until(t, "a line in the log",
		func() bool { return strings.Contains(log.String(), "framing is lost") })
	until(t, "the permit to come back", func() bool { return s.pipeline.Connections() == 0 })
	drain(t, s)
}

// Heartbeats are framed well; without a line, an operator would find no cause.
func TestFloodOfHeartbeatsEndsConnectionWithLogLine(t *testing.T) {
	log := &lines{}
	s, at := serve(t, config(t.TempDir(), transport.ModePoll, log))
	c := dial(t, "tcp", at[0])
	beats := bytes.Repeat(wire.AppendRequest(nil, 0, wire.TagHeartbeat, nil), 1000)
	for range 100 {
		if _, err := c.conn.NetConn().Write(beats); err != nil {
			break // it is ended
		}
	}
	until(t, "a line in the log", func() bool {
		return strings.Contains(log.String(), "floods the server with heartbeats") &&
			strings.Contains(log.String(), "reason=too_many_heartbeats")
	})
	until(t, "the permit to come back", func() bool { return s.pipeline.Connections() == 0 })
	drain(t, s)
}

func TestConnectionLimit(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		cfg := config(t.TempDir(), mode, &lines{})
		cfg.Pipeline.MaxConnections = 2
		s, at := serve(t, cfg)
		first := dial(t, "tcp", at[0])
		dial(t, "unix", at[1])
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if c, err := client.Dial(ctx, "tcp", at[0], client.Options{}); err == nil {
			c.Close()
			t.Error("a third connection was taken")
		}
		first.conn.Close()
		until(t, "the permit to come back", func() bool { return s.pipeline.Connections() == 1 })
		dial(t, "tcp", at[0]).conn.Close()
		drain(t, s)
	})
}

func TestStatsNameEveryComponent(t *testing.T) {
	s, at := serve(t, config(t.TempDir(), transport.ModePoll, &lines{}))
	c := dial(t, "tcp", at[0])
	c.command(order(1, 1, orderbook.Buy, 100, 1))
	c.expect("accepted 1 seq=1", "end")
	var b strings.Builder
	if err := s.WriteStats(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sequencer_events", "journal_last_event", "listener_requests",
		"gate"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the stats do not mention %s:\n%s", want, b.String())
		}
	}
	drain(t, s)
}
