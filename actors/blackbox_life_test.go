package actors

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/telemetry"
	"sluice/transport"
)

func TestTrap08DroppedConnectionIsShutDownForItsReaderToo(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		c, fd := r.pair(socket{})
		r.must(r.Connect(Conn{ID: 1, FD: fd}))
		r.must(r.Kick(1, transport.ReasonKicked))
		c.wantsEnd()
		// The reader, which does not know of the kick, sees the end of the stream, so no further
		// request executes.
		r.until("the reader sees the end of the stream", func() bool {
			n, err := unix.Read(fd, make([]byte, 16))
			return n == 0 && err == nil
		})
		if r.Connections() != 1 {
			t.Error("the connection was released while its reader still held the socket")
		}
		r.Disconnect(1, 0, transport.ReasonPeerClosed)
		r.until("its permit is back", func() bool { return r.Connections() == 0 })
		r.drain()
	})
}

func TestDisconnectCountsAReasonOfTheListenerAsItsClosing(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		for i, reason := range []transport.Reason{
			transport.ReasonFrameTooLong, transport.ReasonLocalShutdown, transport.ReasonSetupFailed, 255,
		} {
			id := uint64(i + 1)
			_, fd := r.pair(socket{})
			r.must(r.Connect(Conn{ID: id, FD: fd}))
			r.Disconnect(id, 0, reason)
			r.untilClosed(id, reason.Closing())
		}
		r.drain()
	})
}

func TestTrap09PermitsReturnForEveryEndOfAConnection(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) { c.MaxConnections = 8 })
		for round := range uint64(5) {
			clients := r.dialAll(1, 8, socket{})
			if _, fd := r.pair(socket{}); true {
				if err := r.Connect(Conn{ID: 9, FD: fd}); !errors.Is(err, ErrFull) {
					t.Fatalf("connection 9 of 8: %v, want ErrFull", err)
				}
				unix.Close(fd)
			}
			r.each(ids(clients), func(i int, s *Slot[tick, struct{}]) {
				s.Report = tick{n: round, bad: []fault{0, 0, 0, 0, 0, faultError, faultPanic,
					faultLarge}[i]}
			})
			clients[0].close()
			clients[1].halfClose()
			clients[2].reset()
			r.must(r.Kick(4, transport.ReasonKicked))
			// an unknown id: no permit is returned for it
			r.Disconnect(1<<40, 0, transport.ReasonPeerClosed)
			r.persist()
			for _, c := range clients[5:] {
				c.wantsEnd()
			}
			clients[4].wants(round, 1)
			clients[4].reset()
			r.until("all permits are back", func() bool { return r.Connections() == 0 })
		}
		r.drain()
	})
}

func TestTrap15FenceSendsNoFurtherByte(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) { c.MaxFrame = 8192 })
		blocked, waiting := r.dial(1, socket{small: true}), r.dial(2, socket{})
		r.report(1, 0, 50, 7000)
		r.persist()
		r.until("the client is blocked", func() bool {
			return r.gauge(telemetry.EgressBlockedConnections) == 1
		})
		r.report(2, 0, 10, 20)
		r.atGate(10)
		before := r.settled(telemetry.EgressBytesSent) // the kernel makes room a little later, too
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		r.must(r.Fence(ctx))
		r.cursors.SetPersisted(1 << 40)
		r.nothingLeft()
		if after := r.Collector().Sum().C[telemetry.EgressBytesSent]; after != before {
			t.Errorf("%d bytes were sent by the fence", after-before)
		}
		if got := blocked.rest(); got > int(before) {
			t.Errorf("the blocked client got %d bytes, only %d were sent before the fence", got,
				before)
		}
		if got := waiting.rest(); got != 0 {
			t.Errorf("a client whose responses were not durable got %d bytes", got)
		}
		if delivered, dropped := r.ledger(); dropped != r.dropped(telemetry.DropFenced) {
			t.Errorf("%d delivered, %d dropped, %d of them as fenced", delivered, dropped,
				r.dropped(telemetry.DropFenced))
		}
	})
}

func TestTrap18EndToEndTimeEndsWhenTheSendCompleted(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) { c.MaxFrame = 8192 })
		whole := func() telemetry.HistTotal {
			r.Collector().Collect(0)
			return r.Collector().Sum().H[telemetry.StageWhole]
		}
		slow, dropped := r.dial(1, socket{small: true}), r.dial(2, socket{small: true})
		r.report(1, 0, 40, 7000)
		r.report(2, 0, 40, 7000)
		r.persist()
		r.until("both are blocked", func() bool {
			return r.gauge(telemetry.EgressBlockedConnections) == 2
		})
		taken := whole().Count
		if taken >= 80 {
			t.Errorf("%d end-to-end samples while most bytes wait for their clients", taken)
		}
		r.must(r.Kick(2, transport.ReasonKicked))
		r.untilClosed(2, transport.ReasonKicked)
		slow.wants(0, 40)
		slow.close()
		dropped.close()
		r.drain()
		r.Collector().Final()
		delivered, lost := r.ledger()
		h := r.Collector().Sum().H[telemetry.StageWhole]
		if h.Count != delivered || lost == 0 {
			t.Errorf("%d samples, %d responses delivered, %d lost: lost ones must leave no sample",
				h.Count, delivered, lost)
		}
	})
}

func TestTrap19QuietPipelineHandsItsMeasurementsOver(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		c := r.dial(1, socket{})
		r.report(1, 0, 1, 20)
		r.persist()
		c.wants(0, 1) // and from now on every actor sleeps
		r.until("the sample is collected", func() bool {
			return r.count(telemetry.EgressFramesSent) == 1 &&
				r.Collector().Sum().H[telemetry.StageWhole].Count == 1
		})
		r.drain()
	})
}

func TestTrap25EncoderErrorsAreLoggedOnceASecond(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		log := new(logBook)
		r := newRig(t, w, func(c *Config) { c.Log = log.logger() })
		began := time.Now()
		c := r.dial(1, socket{})
		r.each(make([]uint64, 5000), func(_ int, s *Slot[tick, struct{}]) {
			s.Conn,
				s.Report.bad = 1, faultPanic
		})
		r.persist()
		c.wantsEnd()
		r.drain()
		lines, most := log.lines("could not be encoded"), 1+int(time.Since(began)/time.Second)
		if lines < 1 || lines > most {
			t.Errorf("%d lines for 5000 errors, want 1 to %d", lines, most)
		}
		if n := lines + log.sum("left_out"); n != 5000 {
			t.Errorf("the log accounts for %d errors, want all 5000", n)
		}
		if log.lines("goroutine ") < 1 {
			t.Error("the line of a panic has no stack")
		}
		if n := r.count(telemetry.EncodePanics); n != 5000 {
			t.Errorf("%d panics counted, want all 5000", n)
		}
	})
}

func TestTrap26BusyAndIdleAreCountedUnderPermanentLoad(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) { c.Shards, c.Placement = 1, PlacementFused })
		c := r.dial(1, socket{})
		stop, read := make(chan struct{}), make(chan int, 1)
		go func() { read <- c.prefix(0) }()
		go func() { // looks while the load lasts
			defer close(stop)
			last := map[string]uint64{}
			for looks := 0; looks < 3; {
				r.Collector().Collect(0)
				grew := 0
				r.Collector().Each(func(a *telemetry.Totals) {
					if now := a.C[telemetry.RunnerBusy] + a.C[telemetry.RunnerIdle]; now > last[a.Actor] {
						last[a.Actor] = now
						grew++
					}
				})
				if grew == 4 {
					looks++
				}
				runtime.Gosched()
			}
		}()
		sent := uint64(0)
		for loaded := true; loaded; {
			r.report(1, sent, 100, 13)
			r.persist()
			sent += 100
			r.until("room", func() bool {
				return r.gauge(telemetry.GatePending) < 1000 &&
					r.gauge(telemetry.EgressBuffered) < 1<<18
			})
			select {
			case <-stop:
				loaded = false
			default:
			}
		}
		r.drain()
		if n := <-read; n != int(sent) {
			t.Errorf("%d of %d arrived", n, sent)
		}
		r.Collector().Final()
		r.Collector().Each(func(a *telemetry.Totals) {
			if a.C[telemetry.RunnerBusy] == 0 || a.C[telemetry.RunnerBusyTime] == 0 {
				t.Errorf("%s was never busy", a.Actor)
			}
		})
	})
}

func TestDuplicateLiveIDIsAnError(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		first := r.dial(7, socket{})
		second, fd := r.pair(socket{})
		err := r.Connect(Conn{ID: 7, FD: fd})
		if err == nil || !strings.Contains(err.Error(), "7") {
			t.Fatalf("a second connection 7: %v", err)
		}
		unix.Close(fd) // it is still the caller's
		second.wantsEnd()
		r.report(7, 0, 1, 20)
		r.persist()
		first.wants(0, 1)
		first.close()
		r.until("the first one is released", func() bool { return r.Connections() == 0 })
		again := r.dial(7, socket{})
		r.report(7, 1, 1, 20)
		r.persist()
		again.wants(1, 1)
		r.drain()
	})
}

func TestConnectRejectsInvalidArguments(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		_, fd := r.pair(socket{})
		for _, c := range []Conn{{ID: 0, FD: fd}, {ID: 1, FD: -1}, {ID: 1, FD: fd, Class: 1}} {
			if err := r.Connect(c); err == nil {
				t.Errorf("Connect(%+v) was accepted", c)
			}
		}
		unix.Close(fd)
		r.drain()
		if err := r.Connect(Conn{ID: 1, FD: 0}); !errors.Is(err, ErrEnded) {
			t.Errorf("Connect after the end: %v, want ErrEnded", err)
		}
		if err := r.Busy(1, []uint64{1}); !errors.Is(err, ErrEnded) {
			t.Errorf("Busy after the end: %v, want ErrEnded", err)
		}
	})
}

func TestEncodeErrorEndsItsConnectionInOrder(t *testing.T) {
	for name, bad := range map[string]fault{"error": faultError, "panic": faultPanic,
		"oversize": faultLarge} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				r := newRig(t, w, nil)
				sick, other := r.dial(1, socket{}), r.dial(2, socket{})
				to := []uint64{1, 2, 1, 2, 1, 2, 1, 2}
				r.each(to, func(i int, s *Slot[tick, struct{}]) {
					s.Report.n = uint64(i / 2)
					if i == 4 {
						s.Report.bad = bad
					}
				})
				r.persist()
				sick.wants(0, 2) // those before it arrive, the one behind it does not
				sick.wantsEnd()
				other.wants(0, 4)
				r.untilClosed(1, transport.ReasonEncodeError)
				r.drain()
				if n := r.dropped(telemetry.DropEncodeError); n != 2 {
					t.Errorf("%d responses dropped as not encodable, want the one and the one behind it", n)
				}
			})
		})
	}
}

func TestResponsesToAnEarlierOwnerOfAnIDAreDropped(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		first := r.dial(1, socket{})
		r.report(1, 666, 10, 20)
		r.atGate(10)
		first.reset()
		r.until("the first one is released", func() bool { return r.Connections() == 0 })
		second := r.dial(1, socket{})
		r.report(1, 0, 3, 20)
		r.persist()
		second.wants(0, 3)
		r.drain()
		if n := r.dropped(telemetry.DropClientGone); n != 10 {
			t.Errorf("%d responses dropped as their client was gone, want 10", n)
		}
	})
}
