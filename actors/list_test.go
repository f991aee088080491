package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice/actors/internal/shard"
	"sluice/transport"
)

func TestTopFindsTheFirstOfMany(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		const n = 700 // several batches for each shard
		r.dialAll(1, n, socket{})
		blocked := []uint64{n + 1, n + 2, n + 3}
		for i, id := range blocked { // later ones have more unsent bytes
			c := r.dial(id, socket{small: true})
			r.report(id, 0, 400+200*i, 500)
			_ = c
		}
		r.persist()
		r.until("all three are blocked", func() bool {
			top, open, err := r.Top(context.Background(), ByBuffered, 3)
			if err != nil || open != n+3 {
				t.Fatalf("%d open, %v", open, err)
			}
			return len(top) == 3 && top[2].Lag > 0 && top[0].Unsent > top[1].Unsent &&
				top[1].Unsent > top[2].Unsent &&
				top[0].Conn == n+3 && top[1].Conn == n+2 && top[2].Conn == n+1 &&
				top[0].Responses > 0
		})
		top, open, err := r.Top(context.Background(), ByAge, MaxTop)
		if err != nil || open != n+3 || len(top) != n+3 {
			t.Fatalf("%d of %d listed, %v", len(top), open, err)
		}
		var seen []uint64
		for i, f := range top {
			if i > 0 && f.Age > top[i-1].Age {
				t.Errorf("connection %d is older than %d before it", f.Conn, top[i-1].Conn)
			}
			seen = append(seen, f.Conn)
		}
		if slices.Sort(seen); len(slices.Compact(seen)) != n+3 {
			t.Errorf("a connection is listed twice")
		}
		lag, _, err := r.Top(context.Background(), ByLag, 5)
		if err != nil || len(lag) != 5 || lag[2].Lag == 0 || lag[3].Lag != 0 ||
			lag[0].Lag < lag[1].Lag {
			t.Errorf("by lag: %+v, %v", lag, err)
		}
		r.stop()
		if _, _, err := r.Top(context.Background(), ByAge, 1); !errors.Is(err, ErrEnded) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// A caller that stops waiting leaves nothing behind that the next call could find.
func TestAbandonedListIsDropped(t *testing.T) {
	r := newRig(t, way{transport.ModePoll, "unix"}, nil)
	r.dialAll(1, 600, socket{})
	for i := range 50 {
		ctx, cancel := context.WithCancel(context.Background())
		if i%2 == 0 {
			cancel()
		}
		top, open, err := r.Top(ctx, ByAge, 2)
		if err == nil && (open != 600 || len(top) != 2) || err != nil &&
			!errors.Is(err, context.Canceled) {
			t.Fatalf("%d of %d, %v", len(top), open, err)
		}
		cancel()
	}
	for _, n := range []int{0, -1, MaxTop + 1} {
		if _, _, err := r.Top(context.Background(), ByAge, n); err == nil {
			t.Errorf("a list of %d was answered", n)
		}
	}
	r.stop()
}

// answerFrame is a response that was not a slot.
const answerFrame = "\x02\x00\x00\x00\x0aA"

// A response that was not a slot overtakes what waits for durability, at a frame boundary, and
// counts for a half-closed client.
func TestRespond(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		c := r.dial(1, socket{})
		c.ask(2) // a slot answers one of them, Respond the other
		c.halfClose()
		r.report(1, 0, 1, 100)
		if err := r.Respond(1, []byte(answerFrame)); err != nil {
			t.Fatal(err)
		}
		c.wantsTag(answerFrame[4])
		r.persist()
		c.wants(0, 1)
		c.wantsEnd()
		r.untilClosed(1, transport.ReasonPeerClosed)
		r.until("the connection is gone", func() bool {
			return r.Respond(1,
				[]byte(answerFrame)) != nil
		})
		r.drain()
		if err := r.Respond(1, []byte(answerFrame)); !errors.Is(err, ErrEnded) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// In a drain, no connection is closed before its moment, and none is kept beyond the deadline.
func TestDrainSpreadsItsCloses(t *testing.T) {
	for _, v := range []struct {
		name             string
		spread, deadline time.Duration
	}{{"as configured", 300 * time.Millisecond, patience}, {"a third of the time left", time.Hour,
		3 * time.Second}} {
		t.Run(v.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				r := newRig(t, w, func(c *Config) { c.Egress.DrainSpread = v.spread })
				const n = 40
				clients := r.dialAll(1, n, socket{})
				r.each(ids(clients), func(_ int, s *Slot[tick, struct{}]) {})
				r.persist()
				allWant(t, clients, 0, 1)
				r.Slots().Close()
				ctx, cancel := context.WithTimeout(context.Background(), v.deadline)
				defer cancel()
				began := r.Now()
				if err := r.Drain(ctx); err != nil {
					t.Fatal(err)
				}
				window := min(int64(v.spread), int64(v.deadline)/3)
				last := int64(0)
				for _, notice := range r.notices {
					// a little less was left of the deadline when closing began
					moment := shard.Jitter(transport.Hash(notice.Conn), window*9/10)
					if notice.Reason != transport.ReasonShutdown || notice.At-began < moment {
						t.Errorf("connection %d: %v after %v, its moment is %v", notice.Conn,
							notice.Reason, time.Duration(notice.At-began), time.Duration(moment))
					}
					last = max(last, moment)
				}
				if len(r.notices) != n || last < window/2 {
					t.Errorf("%s", fmt.Sprint(len(r.notices), " closed, last moment ",
						time.Duration(last)))
				}
				r.nothingLeft()
			})
		})
	}
}
