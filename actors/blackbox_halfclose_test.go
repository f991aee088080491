package actors

import (
	"testing"
	"time"

	"sluice/encode"
	"sluice/telemetry"
	"sluice/transport"
)

func TestHalfClosedClientReceivesItsResponsesThenEnds(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) {
			c.Heartbeat, c.Egress.Tick = 20*time.Millisecond,
				5*time.Millisecond
		})
		c, idle := r.dial(1, socket{}), r.dial(2, socket{})
		c.ask(5)
		c.halfClose()
		r.until("the reader saw the half-close",
			func() bool { return r.count(telemetry.ControlDisconnected) == 1 })
		for n := range uint64(5) {
			r.one(1, func(s *Slot[tick, struct{}]) { s.Last, s.Kind = false, KindQuery })
			r.report(1, n, 1, 30)
			r.persist()
			c.wantsTag(askTag)
			c.wants(n, 1)
		}
		c.wantsEnd()
		r.untilClosed(1, transport.ReasonPeerClosed)
		idle.halfClose() // nothing is owed
		idle.wantsEnd()
		r.drain()
	})
}

func TestHalfClosedClientThatReadsLateReceivesEverything(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) { c.MaxFrame = 8192 })
		c := r.dial(1, socket{small: true})
		c.ask(40)
		c.halfClose()
		r.until("the reader saw the half-close",
			func() bool { return r.count(telemetry.ControlDisconnected) == 1 })
		r.report(1, 0, 40, 7000)
		r.persist()
		r.until("the client is blocked", func() bool {
			return r.gauge(telemetry.EgressBlockedConnections) == 1
		})
		c.wants(0, 40)
		c.wantsEnd()
		r.drain()
	})
}

// A reader cannot distinguish a client that half-closed from one that is gone, and then the socket
// has no reader. Behind a shut gate a heartbeat shows the difference: the first receives it; the
// place and socket of the second are free before the gate opens.
func TestGoneClientIsNoticedWhileTheGateIsShut(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) {
			c.Heartbeat, c.Egress.Tick = 20*time.Millisecond,
				5*time.Millisecond
		})
		waits, gone := r.dial(1, socket{}), r.dial(2, socket{})
		waits.ask(1)
		waits.halfClose()
		gone.ask(1)
		gone.close()
		r.until("the readers saw both", func() bool {
			return r.count(telemetry.ControlDisconnected) == 2
		})
		before := r.count(telemetry.EgressHeartbeats)
		r.report(1, 0, 1, 20)
		r.report(2, 0, 1, 20)
		r.atGate(2)
		r.untilClosed(2, transport.ReasonPeerReset)
		r.until("its place is free", func() bool { return r.Connections() == 1 })
		for uint64(waits.heartbeats) <= before {
			tag, _, err := waits.frame()
			if err != nil || tag != encode.TagHeartbeat {
				t.Fatalf("tag %#x (%v) while the gate is shut", tag, err)
			}
			waits.heartbeats++
		}
		r.persist()
		waits.wants(0, 1)
		waits.wantsEnd()
		r.drain()
	})
}

// With a raw framing a response may have no bytes at all, also the first one of a connection. No send
// completes then, and the client must end nevertheless.
func TestHalfClosedClientEndsAfterResponseWithoutBytes(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) { c.Framing = encode.Framing{Raw: true} })
		c := r.dial(1, socket{})
		c.ask(3)
		c.halfClose()
		r.until("the reader saw the half-close",
			func() bool { return r.count(telemetry.ControlDisconnected) == 1 })
		r.one(1, func(s *Slot[tick, struct{}]) { s.Kind = KindBatchEnd })
		r.must(r.Respond(1, nil))
		r.persist()
		r.until("one request has no response", func() bool { return r.count(telemetry.EgressSlots) == 1 })
		if r.Connections() != 1 {
			t.Fatal("the connection ended before its last response")
		}
		r.one(1, func(s *Slot[tick, struct{}]) { s.Kind = KindBatchEnd })
		r.persist()
		c.wantsEnd()
		r.untilClosed(1, transport.ReasonPeerClosed)
		r.drain()
	})
}
