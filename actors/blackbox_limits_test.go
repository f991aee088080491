package actors

import (
	"testing"
	"time"

	"sluice/telemetry"
	"sluice/transport"
)

// lenient is limits that nothing in these tests reaches; each test tightens the one it is about.
func lenient() transport.Limits {
	return transport.Limits{HardBytes: 1 << 20, SoftBytes: 1 << 20, SoftFor: time.Hour,
		NoProgress: time.Hour}
}

func TestTrap11HeartbeatsGoToQuietClientsOnly(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) {
			c.MaxFrame, c.Heartbeat, c.Egress.Tick, c.Shards = 8192, 20*time.Millisecond, 2*time.Millisecond, 1
		})
		blocked := r.dial(1, socket{small: true})
		r.report(1, 0, 40, 7000)
		r.persist()
		r.until("the client is blocked", func() bool {
			return r.gauge(telemetry.EgressBlockedConnections) == 1
		})
		quiet := r.dial(2, socket{})
		for quiet.heartbeats < 4 {
			tag, _, err := quiet.frame()
			if err != nil || tag != 0x01 {
				t.Fatalf("tag %#x (%v), want heartbeats", tag, err)
			}
			quiet.heartbeats++
		}
		blocked.wants(0, 1) // there may be heartbeats before it, sent before there was anything to send
		early := blocked.heartbeats
		blocked.wants(1, 19) // most of them were appended before those intervals
		if blocked.heartbeats != early {
			t.Errorf("a blocked client was sent %d heartbeats", blocked.heartbeats-early)
		}
		blocked.close()
		r.drain()
	})
}

func TestTrap12ClientThatStopsReadingIsClosedWithoutTraffic(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) {
			l := lenient()
			l.NoProgress = time.Second // a tick must come in its last three quarters
			c.Limits, c.MaxFrame = []transport.Limits{l}, 8192
		})
		c := r.dial(1, socket{small: true})
		r.report(1, 0, 40, 7000)
		r.persist()
		// Nothing else happens from now on: only the timer can see it.
		r.untilClosed(1, transport.ReasonStalled)
		if r.told(1, NoticeSlow) != 1 {
			t.Error("it was not reported as slow before")
		}
		c.prefix(0)
		r.drain()
	})
}

func TestTrap23NoFrameIsSentAfterAnOverflow(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) {
			l := lenient()
			l.HardBytes, l.SoftBytes = 64<<10, 64<<10
			c.Limits, c.MaxFrame = []transport.Limits{l}, 32<<10
		})
		c := r.dial(1, socket{small: true})
		other := r.dial(2, socket{})
		n := uint64(0)
		for ; ; n += 2 { // large and small by turns until the large one does not fit
			if _, over := r.closed(1); over {
				break
			}
			r.report(1, n, 1, 30000)
			r.report(1, n+1, 1, 13)
			r.report(2, n/2, 1, 13)
			r.persist()
			other.wants(n/2, 1)
		}
		r.untilClosed(1, transport.ReasonSlowHard)
		if got := c.prefix(0); got >= int(n) {
			t.Errorf("%d responses arrived of %d although the limit was passed", got, n)
		}
		r.drain()
		if r.dropped(telemetry.DropSlowClient) == 0 {
			t.Error("nothing was counted as dropped")
		}
	})
}

func TestClientOverTheSoftLimitForTooLongIsClosed(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) {
			l := lenient()
			l.SoftBytes, l.SoftFor = 50<<10, 100*time.Millisecond
			c.Limits, c.MaxFrame = []transport.Limits{l, lenient()}, 8192
		})
		over, class := r.dial(1, socket{small: true}), r.dial(2, socket{small: true, class: 1})
		r.report(1, 0, 40, 7000)
		r.report(2, 0, 40, 7000)
		r.persist()
		r.untilClosed(1, transport.ReasonSlowSoft)
		over.prefix(0)
		class.wants(0, 40) // its class has another limit
		r.drain()
	})
}

func TestSlowClientThatTakesEverythingHasRecovered(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) {
			l := lenient()
			l.SoftBytes = 50 << 10
			c.Limits, c.MaxFrame = []transport.Limits{l}, 8192
		})
		c := r.dial(1, socket{small: true})
		for round := range uint64(2) { // it can be slow again
			r.report(1, round*40, 40, 7000)
			r.persist()
			r.until("it is slow", func() bool { return r.told(1, NoticeSlow) == int(round)+1 })
			if n := r.told(1, NoticeRecovered); n != int(round) {
				t.Fatalf("recovered %d times in round %d, before it took a byte", n, round)
			}
			c.wants(round*40, 40)
			r.until("it recovered", func() bool {
				return r.told(1,
					NoticeRecovered) == int(round)+1
			})
		}
		r.drain()
		if slow, recovered := r.told(1, NoticeSlow), r.told(1, NoticeRecovered); slow != 2 ||
			recovered != 2 {
			t.Errorf("slow %d times and recovered %d times, want 2 and 2", slow, recovered)
		}
	})
}

func TestClientThatReadsSlowlyStays(t *testing.T) {
	for _, family := range []string{"tcp", "unix"} { // independent of the engine
		t.Run(family, func(t *testing.T) {
			w := way{transport.ModePoll, family}
			r := newRig(t, w, func(c *Config) {
				l := lenient()
				l.NoProgress = 2 * time.Second
				c.Limits, c.MaxFrame = []transport.Limits{l}, 8192
			})
			c := r.dial(1, socket{small: true})
			r.report(1, 0, 20, 7000)
			r.persist()
			r.until("the client is blocked", func() bool {
				return r.gauge(telemetry.EgressBlockedConnections) == 1
			})
			// 1 KiB a tick, slower than that limit's period in all: what counts is that it takes
			// some.
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			began := time.Now()
			piece := make([]byte, 1024)
			for time.Since(began) < 3*time.Second {
				<-tick.C
				if _, err := c.raw.Read(piece); err != nil {
					t.Fatalf("after %v: %v", time.Since(began), err)
				}
			}
			if why, closed := r.closed(1); closed {
				t.Errorf("a client that reads 1 KiB at a time was closed as %v", why)
			}
			c.close()
			r.drain()
		})
	}
}

func TestShardBudgetEndsTheLargestBufferFirst(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) {
			c.Shards, c.MaxFrame, c.ShardBudget = 1, 8192, 4<<20
		})
		worst, lesser := r.dial(1, socket{small: true}), r.dialAll(2, 3, socket{small: true})
		healthy := r.dial(9, socket{})
		r.report(1, 0, 128, 7000) // about 900 KB, in a block of 1 MiB
		r.persist()
		// one after the other, the others grow into what is left of the budget, to 560 KB each
		const each = 80
		for i := range uint64(3 * each) {
			if _, shed := r.closed(1); shed {
				break
			}
			c := lesser[i/each]
			r.each([]uint64{c.id, 9}, func(to int, s *Slot[tick, struct{}]) {
				s.Report = tick{n: i % each, size: 7000}
			})
			r.persist()
			healthy.wants(i%each, 1)
		}
		r.untilClosed(1, transport.ReasonShardBudget)
		worst.prefix(0)
		for _, c := range lesser {
			if why, shed := r.closed(c.id); shed {
				t.Errorf("lesser offender %d was closed as %v", c.id, why)
			}
			c.close()
		}
		r.drain()
	})
}

func TestLimitsChangeAtRunTime(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) {
			c.Limits, c.MaxFrame = []transport.Limits{lenient()},
				8192
		})
		c := r.dial(1, socket{small: true})
		r.report(1, 0, 40, 7000)
		r.persist()
		r.until("the client is blocked", func() bool {
			return r.gauge(telemetry.EgressBlockedConnections) == 1
		})
		for _, bad := range [][]transport.Limits{nil, {{HardBytes: 1}},
			{{HardBytes: 8 << 20, SoftBytes: 1, SoftFor: 1, NoProgress: 1}}} {
			if err := r.SetLimits(bad); err == nil {
				t.Errorf("limits %+v were accepted", bad)
			}
		}
		if _, closed := r.closed(1); closed {
			t.Fatal("closed by limits that were refused")
		}
		tight := lenient()
		tight.SoftBytes, tight.SoftFor, tight.NoProgress = 1000, time.Millisecond, time.Millisecond
		r.must(r.SetLimits([]transport.Limits{tight}))
		r.until("it is dropped under the new limits",
			func() bool { _, closed := r.closed(1); return closed })
		c.prefix(0)
		r.drain()
	})
}
