package actors

import (
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/encode"
	"sluice/telemetry"
)

func TestTrap01ClientThatNeverReadsDelaysNoOther(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		dead := r.dial(1, socket{small: true})
		healthy := r.dialAll(2, 31, socket{})
		all := append([]uint64{1}, ids(healthy)...)
		const rounds = 300
		for round := range uint64(rounds) {
			r.each(all, func(_ int, s *Slot[tick, struct{}]) {
				s.Report = tick{n: round,
					size: 256}
			})
			r.persist()
		}
		allWant(t, healthy, 0, rounds)
		r.until("the client that reads nothing is blocked", func() bool {
			return r.count(telemetry.EgressPolls) > 0
		})
		if n := r.Connections(); n != 32 {
			t.Errorf("%d connections, want all 32: a limit ended the blocked client, so it may not have been in the way", n)
		}
		dead.wants(0, rounds) // it lost nothing either
		r.drain()
	})
}

func TestTrap02PartialSendContinuesWhenWritable(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) { c.MaxFrame, c.Shards = 8192, 1 })
		slow, quick := r.dial(1, socket{small: true}), r.dial(2, socket{})
		r.report(1, 0, 60, 7000)
		r.persist()
		r.until("the socket refuses bytes", func() bool {
			return r.gauge(telemetry.EgressBlockedConnections) == 1
		})
		refused := func() uint64 { return r.count(telemetry.EgressSendShort) + r.count(telemetry.EgressSendAgain) }
		before := refused()
		for i := range uint64(200) { // every one of them is at least a step of the shard
			r.report(2, i, 1, 20)
			r.persist()
			quick.wants(i, 1)
		}
		if n := refused() - before; n > 2 {
			t.Errorf("%d sends were refused while the client read nothing", n)
		}
		slow.wants(0, 60)
		if r.count(telemetry.EgressSendShort) == 0 {
			t.Error("no send was short: this run shows nothing")
		}
		r.drain()
	})
}

func TestTrap03SignalsDoNotDisturbTheStream(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		caught := make(chan os.Signal, 1)
		signal.Notify(caught, unix.SIGUSR2)
		defer signal.Stop(caught)
		r := newRig(t, w, func(c *Config) { c.RingEntries = 8 })
		clients := r.dialAll(1, 32, socket{})
		var sent atomic.Int64
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			storm := time.NewTicker(100 * time.Microsecond)
			defer storm.Stop()
			for {
				select {
				case <-stop:
					return
				case <-storm.C:
					threads, _ := os.ReadDir("/proc/self/task")
					for _, thread := range threads {
						var id int
						fmt.Sscan(thread.Name(), &id)
						unix.Tgkill(os.Getpid(), id, unix.SIGURG)
						unix.Tgkill(os.Getpid(), id, unix.SIGUSR2)
						sent.Add(2)
					}
				}
			}
		}()
		arrived, rounds := make(chan error, len(clients)), uint64(0)
		const least = 2000
		for ; rounds < 200 || sent.Load() < least; rounds++ {
			r.each(ids(clients), func(_ int, s *Slot[tick, struct{}]) {
				s.Report = tick{n: rounds,
					size: 100}
			})
			r.persist()
			for _, c := range clients {
				go func() { arrived <- c.report(rounds) }()
			}
			for range clients {
				if err := <-arrived; err != nil {
					t.Fatal(err)
				}
			}
		}
		close(stop)
		<-stopped
		r.drain()
	})
}

func TestTrap05BurstIsFlushedBeforeLimitsApply(t *testing.T) {
	for _, c := range []struct {
		name         string
		frames, size int
		clients      int
		maxFrame     int
	}{
		{"8192 slots of 13 B at once", 8192, 13, 1, 512},
		{"400 slots of 400 B in one step", 400, 400, 1, 512},
		{"400 slots of 400 B in one step for 8 clients", 400, 400, 8, 512},
		{"11 frames of 100 KB, more than the hard limit", 11, 100 << 10, 1, 128 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				r := newRig(t, w, func(cfg *Config) {
					cfg.MaxFrame, cfg.FrameRing = c.maxFrame, 8<<20
					cfg.Limits = nil // the default ones
				})
				clients := r.dialAll(1, c.clients, socket{})
				var to []uint64
				for range c.frames {
					to = append(to, ids(clients)...)
				}
				r.each(to, func(i int, s *Slot[tick, struct{}]) {
					s.Report = tick{n: uint64(i / c.clients), size: c.size}
				})
				r.persist() // the gate holds all of them until now
				allWant(t, clients, 0, c.frames)
				r.drain()
			})
		})
	}
}

func TestTrap10ServerBusyIsSentBetweenFrames(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) { c.MaxFrame = 8192 })
		c := r.dial(1, socket{small: true})
		const rounds = 100
		for i := range uint64(rounds) {
			r.report(1, i, 1, 5000) // the client reads nothing: most of them end within a frame
			r.persist()
			r.must(r.Busy(1, []uint64{i}))
		}
		r.until("all of them are appended", func() bool {
			return r.count(telemetry.EgressBusy) == rounds
		})
		c.wants(0, rounds)
		for c.busies < rounds {
			if tag, _, err := c.frame(); err != nil || tag != encode.TagServerBusy {
				t.Fatalf("got tag %#x (%v) after %d ServerBusy, want %d of them", tag, err,
					c.busies, rounds)
			}
			c.busies++
		}
		r.drain()
	})
}

func TestTrap24BlockedClientKeepsBatchingOfOthers(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		sends := func(blocked bool) (perFrame float64) {
			r := newRig(t, w, func(c *Config) { c.Shards, c.MaxFrame = 1, 8192 })
			healthy := r.dialAll(2, 16, socket{})
			dead := r.dial(1, socket{small: blocked})
			if blocked {
				r.report(1, 0, 30, 5000)
				r.persist()
				r.until("the client is blocked",
					func() bool { return r.gauge(telemetry.EgressBlockedConnections) == 1 })
			}
			before := r.count(telemetry.EgressSendOK)
			const rounds, each = 50, 20
			for round := range uint64(rounds) {
				var to []uint64
				for range each {
					to = append(to, append(ids(healthy), 1)...)
				}
				first := round * each
				r.each(to, func(i int, s *Slot[tick, struct{}]) {
					s.Report = tick{n: first + uint64(i/17), size: 13}
				})
				r.persist()
				allWant(t, healthy, first, each)
			}
			perFrame = float64(r.count(telemetry.EgressSendOK)-before) / (rounds * each * 16)
			dead.close()
			r.drain()
			return perFrame
		}
		without, with := sends(false), sends(true)
		if with > 2*without+0.05 {
			t.Errorf("%.2f sends a frame with a blocked client, %.2f without", with, without)
		}
	})
}

func TestMoreDirtyConnectionsThanRingEntriesTakeSeveralSubmits(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		n := 1000
		if testing.Short() {
			n = 300
		}
		needFDs(t, 2*n+200)
		r := newRig(t, w, func(c *Config) { c.Shards, c.RingEntries = 1, 8 })
		clients := r.dialAll(1, n, socket{alone: true})
		const rounds = 3
		for round := range uint64(rounds) {
			r.each(ids(clients), func(_ int, s *Slot[tick, struct{}]) {
				s.Report = tick{n: round,
					size: 200}
			})
		}
		r.persist()
		for _, c := range clients {
			c.wants(0, rounds)
		}
		r.drain()
		if got := r.count(telemetry.EgressSubmits); got < uint64(n/8) {
			t.Errorf("%d submits for %d connections on a ring of 8", got, n)
		}
	})
}

// needFDs skips the test if that many descriptors are not allowed.
func needFDs(t *testing.T, n int) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur < uint64(n) {
		t.Skipf("RLIMIT_NOFILE is %d; this test needs %d descriptors", limit.Cur, n)
	}
}

func TestEveryKindOfFrameArrivesUnchanged(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		c := r.dial(1, socket{})
		r.one(1, func(s *Slot[tick, struct{}]) { s.Kind, s.Last = KindEngineError, true })
		r.one(1, func(s *Slot[tick, struct{}]) { s.Kind, s.Last = KindQuery, false })
		r.one(1, func(s *Slot[tick, struct{}]) { s.Kind, s.Last = KindBatchEnd, false })
		r.one(1, func(s *Slot[tick, struct{}]) { s.Last, s.Report = false, tick{n: 7, size: 512} })
		r.one(1, func(s *Slot[tick, struct{}]) { s.Report = tick{n: 8} })
		r.persist()
		for _, tag := range []byte{0x03, 0x02, askTag, 0x02, tickTag} {
			c.wantsTag(tag)
		}
		c.wants(8, 1)
		r.drain()
		c.wantsEnd()
	})
}

func TestSpinningGroupsServeAndEnd(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) {
			c.Idle, c.Placement, c.CPUs = IdleSpin, PlacementFused,
				[]int{0}
		})
		c := r.dial(1, socket{})
		r.report(1, 0, 100, 50)
		r.persist()
		c.wants(0, 100)
		r.drain()
	})
}
