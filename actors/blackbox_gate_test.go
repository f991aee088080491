package actors

import (
	"context"
	"sync"
	"testing"
	"time"

	"sluice/durability"
	"sluice/telemetry"
	"sluice/transport"
)

// atGate waits until the gate has looked at everything published and holds it back from position
// on.
func (r *rig) atGate(waiting int) {
	r.t.Helper()
	r.until("the gate waits", func() bool {
		return r.gauge(telemetry.GatePending) == float64(waiting) &&
			(waiting == 0 || r.gauge(telemetry.GateOldestAge) > 0)
	})
}

func TestTrap06DurableResponseDoesNotWaitForLaterEvent(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		c := r.dial(1, socket{})
		r.report(1, 1, 10, 20) // one step of the gate takes all ten
		for durable := uint64(1); durable <= 10; durable++ {
			r.cursors.SetPersisted(durability.Seq(durable))
			c.wants(durable, 1) // although the later ones of its batch are not durable
			r.atGate(10 - int(durable))
			c.silent()
		}
		r.drain()
	})
}

func TestTrap07EachSlotIsJudgedByItsOwnSeq(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		c := r.dial(1, socket{})
		seqs := []durability.Seq{1, 1, 2, 4, 4, 4, 7, 8}
		r.each(make([]uint64, len(seqs)), func(i int, s *Slot[tick, struct{}]) {
			s.Conn, s.Seq, s.Report = 1, seqs[i], tick{n: uint64(i)}
		})
		got := 0
		for durable := durability.Seq(0); durable <= 8; durable++ {
			r.cursors.SetPersisted(durable)
			want := 0
			for _, seq := range seqs {
				if seq <= durable {
					want++
				}
			}
			c.wants(uint64(got), want-got)
			got = want
			r.atGate(len(seqs) - want)
			c.silent()
		}
		r.drain()
	})
}

func TestTrap14BypassSlotOvertakesOthersButNotItsOwnConnection(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		// no replica: it can never open
		r := newRig(t, w, func(c *Config) { c.Policy = durability.DurablyReplicated() })
		a, b := r.dial(1, socket{}), r.dial(2, socket{})
		bypass := func(id, n uint64) {
			r.one(id, func(s *Slot[tick, struct{}]) { s.Bypass, s.Report = true, tick{n: n} })
		}
		r.report(1, 0, 3, 20)
		bypass(1, 3) // has to wait behind its own connection
		for n := range uint64(200) {
			bypass(2, n)
			b.wants(n, 1)
		}
		r.report(2, 200, 1, 20)
		bypass(2, 201)
		r.until("the gate has seen it", func() bool {
			return r.gauge(telemetry.GatePending) == 206
		})
		a.silent()
		b.silent()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		r.must(r.Policy().Swap(ctx, durability.Local()))
		r.persist()
		a.wants(0, 4)
		b.wants(200, 2)
		r.drain()
	})
}

func TestTrap16LastCursorCountsAsTheBlocker(t *testing.T) {
	journal := func(r *rig, to uint64) { r.cursors.SetPersisted(durability.Seq(to)) }
	replica := func(r *rig, to uint64) { r.cursors.Advance(1, durability.Seq(to), 0) }
	for _, c := range []struct {
		name                 string
		first, last          func(r *rig, to uint64)
		journal, replication uint64
		waits                telemetry.Stage // the stage whose wait ended at the opening
	}{
		{"the journal came last", replica, journal, 1, 0, telemetry.StageJournalWait},
		{"the replica came last", journal, replica, 0, 1, telemetry.StageReplicaWait},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				r := newRig(t, w, func(cfg *Config) { cfg.Policy = durability.Hybrid() })
				r.cursors.Activate(1, 0, 0)
				client := r.dial(1, socket{})
				r.report(1, 0, 5, 20)
				r.atGate(5)
				c.first(r, 100)
				// all five have passed that one
				r.until("the gate has seen the first cursor", func() bool {
					r.Collector().Collect(0)
					h := &r.Collector().Sum().H
					return h[telemetry.StageJournalWait].Count+h[telemetry.StageReplicaWait].Count == 5
				})
				client.silent()
				c.last(r, 5)
				client.wants(0, 5)
				if n := r.count(telemetry.GateOpenedJournal); n != c.journal {
					t.Errorf("%d opens by the journal, want %d", n, c.journal)
				}
				if n := r.count(telemetry.GateOpenedReplication); n != c.replication {
					t.Errorf("%d opens by replication, want %d", n, c.replication)
				}
				if n := r.Collector().Sum().H[c.waits].Count; n != 5 {
					t.Errorf("%d waits of stage %s, want 5", n, c.waits.Name())
				}
				r.drain()
			})
		})
	}
}

// replicate lets replica 1 have everything in memory.
func replicate(r *rig) { r.cursors.Advance(1, durability.Seq(r.seq), 0) }

func TestTrap17WedgedGateShowsInGauges(t *testing.T) {
	w := way{transport.ModePoll, "unix"} // independent of the engine
	t.Run("degraded from the start is said at once", func(t *testing.T) {
		log := new(logBook)
		r := newRig(t, w, func(c *Config) { c.Policy, c.Log = durability.Hybrid(), log.logger() })
		r.until("a warning that it started degraded",
			func() bool { return log.lines("degraded from the start") == 1 })
		if now, _ := r.Degraded(); !now {
			t.Error("the gauge says that nothing is degraded")
		}
		r.stop()
	})
	t.Run("degraded in the middle of a wait", func(t *testing.T) {
		log := new(logBook)
		r := newRig(t, w, func(c *Config) { c.Policy, c.Log = durability.Local(), log.logger() })
		r.cursors.Activate(1, 0, 0)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		r.must(r.Policy().Swap(ctx, durability.Hybrid()))
		r.dial(1, socket{})
		r.report(1, 0, 1, 20)
		r.atGate(1)
		r.cursors.Deactivate(1)
		r.until("the gauge rises", func() bool { return r.gauge(telemetry.PolicyDegraded) == 1 })
		age, total := r.gauge(telemetry.GateOldestAge), r.gauge(telemetry.PolicyDegradedSeconds)
		r.until("the age of the oldest slot grows",
			func() bool { return r.gauge(telemetry.GateOldestAge) > age })
		r.until("the total grows while nothing moves",
			func() bool { return r.gauge(telemetry.PolicyDegradedSeconds) > total })
		r.until("a warning once it has held for a second",
			func() bool { return log.lines("WARN durability is degraded for") == 1 })
		r.stop()
	})
}

func TestTrap20And22WaitingGateDelaysNothingElse(t *testing.T) {
	for _, placement := range []Placement{PlacementFused, PlacementFront, PlacementSpread} {
		t.Run(placement.String(), func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				r := newRig(t, w, func(c *Config) {
					c.Placement, c.Heartbeat, c.Egress.Tick = placement, 20*time.Millisecond, 5*time.Millisecond
				})
				waiting := r.dial(1, socket{})
				r.report(1, 1, 1, 20)
				r.atGate(1)
				late := r.dial(2, socket{}) // connect
				r.must(r.Busy(2, []uint64{1}))
				for late.busies == 0 || late.heartbeats == 0 {
					tag, _, err := late.frame()
					r.must(err)
					switch tag {
					case 0x01:
						late.heartbeats++
					case 0x04:
						late.busies++
					}
				}
				r.must(r.Kick(2, transport.ReasonKicked))
				r.untilClosed(2, transport.ReasonKicked)
				gone := r.dial(3, socket{})
				gone.halfClose() // disconnect; a close with a heartbeat unread would be a reset
				r.untilClosed(3, transport.ReasonPeerClosed)
				r.must(r.SetLimits([]transport.Limits{transport.DefaultLimits()}))
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				strict, err := durability.Parse("persisted>=1 && in_memory>=1", 3)
				r.must(err)
				r.must(r.Policy().Swap(ctx, strict))
				r.stop() // shutdown, with the slot still waiting
				if waiting.prefix(1) != 0 {
					t.Error("a slot that was never durable was delivered")
				}
				if r.dropped(telemetry.DropShutdown) != 1 {
					t.Error("the slot that waited is not accounted for")
				}
			})
		})
	}
}

func TestTrap21QueryDuringAHaltIsAnswered(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		a, b := r.dial(1, socket{}), r.dial(2, socket{})
		r.report(1, 1, 1, 20)
		r.atGate(1)
		for range 100 { // a response to a query needs no durability of its own
			r.one(2, func(s *Slot[tick, struct{}]) { s.Kind, s.Bypass, s.Seq = KindQuery, true, 0 })
			b.wantsTag(askTag)
			b.wantsTag(0x02)
		}
		a.silent()
		r.persist()
		a.wants(1, 1)
		r.drain()
	})
}

func TestTrap27ConnectReturnsOnceTheShardOwnsTheConnection(t *testing.T) {
	for _, placement := range []Placement{PlacementFused, PlacementFront, PlacementSpread} {
		t.Run(placement.String(), func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				r := newRig(t, w, func(c *Config) { c.Placement = placement })
				for id := uint64(1); id <= 100; id++ {
					c := r.dial(id, socket{})
					r.report(id, id, 1, 20)
					r.persist()
					c.wants(id, 1)
					c.close()
				}
				r.drain()
				if n := r.dropped(telemetry.DropClientGone); n != 0 {
					t.Errorf("%d first responses overtook their registration", n)
				}
			})
		})
	}
}

func TestSwapIsAcknowledgedAfterAdoption(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) { c.Policy = durability.Local() })
		r.cursors.Activate(1, 0, 0)
		c := r.dial(1, socket{})
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		n := uint64(0)
		for range 100 {
			r.must(r.Policy().Swap(ctx, durability.Hybrid()))
			r.report(1, n, 1, 20)
			r.persist() // enough for the old policy, not for the one in force
			r.atGate(1)
			c.silent()
			replicate(r)
			c.wants(n, 1)
			n++
			r.must(r.Policy().Swap(ctx, durability.Local()))
			r.report(1, n, 1, 20)
			r.persist() // enough now, and the replica may be late
			c.wants(n, 1)
			n++
		}
		r.drain()
	})
}

func TestSwapForgetsWhatTheOldPolicyProved(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		r.cursors.Activate(1, 0, 0)
		c := r.dial(1, socket{})
		r.cursors.SetPersisted(1000)
		r.report(1, 0, 1, 20)
		c.wants(0, 1) // the gate knows now that everything up to 1000 is durable
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		r.must(r.Policy().Swap(ctx, durability.Hybrid()))
		r.report(1, 1, 1, 20)
		r.atGate(1)
		c.silent()
		replicate(r)
		c.wants(1, 1)
		r.drain()
	})
}

func TestSwapWakesAWaitingGate(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) { c.Policy = durability.DurablyReplicated() })
		c := r.dial(1, socket{})
		r.report(1, 0, 3, 20)
		r.persist()
		r.atGate(3)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		r.must(r.Policy().Swap(ctx, durability.Local())) // nothing else happens after it
		c.wants(0, 3)
		r.drain()
		if err := r.Policy().Swap(ctx, durability.Hybrid()); err == nil {
			t.Error("a swap was acknowledged after the gate had ended")
		}
	})
}

func TestSwapsFromManyGoroutinesUnderTraffic(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		feed := r.cursors.Activate(1, 0, 0)
		clients := r.dialAll(1, 8, socket{})
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		stop := make(chan struct{})
		var swappers sync.WaitGroup
		for _, p := range []durability.Policy{durability.Local(), durability.Hybrid(),
			durability.Replicated(), durability.DurablyReplicated()} {
			swappers.Add(1)
			go func() {
				defer swappers.Done()
				for {
					select {
					case <-stop:
						return
					default:
						if err := r.Policy().Swap(ctx, p); err != nil {
							t.Error(err)
							return
						}
					}
				}
			}()
		}
		for n := range uint64(200) {
			r.each(ids(clients), func(_ int, s *Slot[tick, struct{}]) { s.Report = tick{n: n} })
			r.persist()
			feed.Advance(durability.Seq(r.seq), durability.Seq(r.seq))
		}
		allWant(t, clients, 0, 200)
		close(stop)
		swappers.Wait()
		r.drain()
	})
}
