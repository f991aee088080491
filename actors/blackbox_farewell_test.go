package actors

import (
	"io"
	"strings"
	"testing"
	"time"

	"sluice/durability"
	"sluice/encode"
	"sluice/telemetry"
	"sluice/transport"
)

// wantsFarewell fails the test unless the stream ends with Close for a reason, and in order: a reset
// could have destroyed the frame on its way.
func (c *client) wantsFarewell(want encode.CloseReason) {
	c.t.Helper()
	if tag, _, err := c.next(); err != io.EOF {
		c.t.Fatalf("client %d: got tag %#x (%v), want the end of the stream", c.id, tag, err)
	}
	if c.told != want {
		c.t.Fatalf("client %d was told reason %d, want %d", c.id, c.told, want)
	}
}

// A client that reads is told why the server closes its connection, including if it has sent what
// the server has not read.
func TestClientIsToldWhyItIsClosed(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		for _, end := range []struct {
			name string
			want encode.CloseReason
			do   func(r *rig)
		}{
			{"kicked", encode.CloseKicked, func(r *rig) {
				r.must(r.Kick(1, transport.ReasonKicked))
				r.untilClosed(1, transport.ReasonKicked)
				r.Disconnect(1, 0, transport.ReasonLocalShutdown)
			}},
			{"silent", encode.CloseSilent,
				func(r *rig) { r.Disconnect(1, 0, transport.ReasonSilent) }},
			{"malformed frame", encode.CloseProtocol,
				func(r *rig) { r.Disconnect(1, 0, transport.ReasonFrameMalformed) }},
			{"a request failed", encode.CloseInternal,
				func(r *rig) { r.Disconnect(1, 0, transport.ReasonRequestFailed) }},
			{"encoder failed", encode.CloseInternal, func(r *rig) {
				r.one(1, func(s *Slot[tick, struct{}]) { s.Report.bad = faultError })
				r.persist()
				r.untilClosed(1, transport.ReasonEncodeError)
				r.Disconnect(1, 0, transport.ReasonLocalShutdown)
			}},
		} {
			t.Run(end.name, func(t *testing.T) {
				r := newRig(t, w, nil)
				c := r.dial(1, socket{held: true})
				c.ask(100)
				r.report(1, 0, 3, 30)
				r.persist()
				r.until("they are sent", func() bool { return r.count(telemetry.EgressFramesSent) == 3 })
				end.do(r)
				c.wants(0, 3)
				c.wantsFarewell(end.want)
				r.drain()
			})
		}
	})
}

// The requests before a malformed frame are answered first, however late the gate opens.
func TestRequestsBeforeMalformedFrameAreAnswered(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		c := r.dial(1, socket{held: true})
		r.report(1, 0, 2, 30)
		r.atGate(2)
		r.Disconnect(1, 2, transport.ReasonFrameTooLong)
		r.until("the reader's report arrived",
			func() bool { return r.count(telemetry.ControlDisconnected) == 1 })
		c.silent()
		r.persist()
		c.wants(0, 2)
		c.wantsFarewell(encode.CloseProtocol)
		r.drain()
	})
}

// sendAway sets a farewell that sends clients to another server.
func (r *rig) sendAway() {
	r.must(r.SetFarewell(Farewell{Reason: encode.CloseElsewhere, RetryAfter: 100 * time.Millisecond,
		Address: "node-2:7000"}))
}

// Only the end of the pipeline has the farewell: other reasons stay as they are.
func TestKickedClientIsNotSentElsewhere(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		r.sendAway()
		c := r.dial(1, socket{held: true})
		r.must(r.Kick(1, transport.ReasonKicked))
		r.untilClosed(1, transport.ReasonKicked)
		r.Disconnect(1, 0, transport.ReasonLocalShutdown)
		c.wantsFarewell(encode.CloseKicked)
		r.drain()
	})
}

func TestImpossibleFarewellsAreRejected(t *testing.T) {
	p, err := newPipeline(Config{Policy: durability.Local()}, tickEncoder{}, durability.NewCursors(0))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []Farewell{{}, {Address: "a:1"}, {Reason: encode.CloseElsewhere,
		Address: strings.Repeat("a", encode.MaxAddress+1)}} {
		if err := p.SetFarewell(f); err == nil || !strings.Contains(err.Error(), "at most 244 bytes") {
			t.Errorf("%d bytes: %v", len(f.Address), err)
		}
	}
	if err := p.SetFarewell(Farewell{Reason: encode.CloseElsewhere,
		Address: strings.Repeat("a", encode.MaxAddress)}); err != nil {
		t.Error(err)
	}
}

func TestEndsOfThePipelineTellClients(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		for _, end := range []struct {
			name string
			want encode.CloseReason
			do   func(r *rig)
		}{
			{"drain", encode.CloseShutdown, func(r *rig) { r.drain() }},
			{"stop", encode.CloseShutdown, func(r *rig) { r.stop() }},
			{"fence", 0, func(r *rig) { r.fence() }}, // not another byte (R15)
			{"drain, elsewhere", encode.CloseElsewhere, func(r *rig) { r.sendAway(); r.drain() }},
			{"stop, elsewhere", encode.CloseElsewhere, func(r *rig) { r.sendAway(); r.stop() }},
			{"fence, elsewhere", 0, func(r *rig) { r.sendAway(); r.fence() }},
		} {
			t.Run(end.name, func(t *testing.T) {
				r := newRig(t, w, nil)
				idle, busy := r.dial(1, socket{}), r.dial(2, socket{})
				r.report(2, 0, 5, 40)
				r.persist()
				busy.wants(0, 5)
				end.do(r)
				idle.wantsFarewell(end.want)
				busy.wantsFarewell(end.want)
				const away = "\x0b\x00\x64\x00\x00\x00\x0bnode-2:7000" // reason, flags, retry_after, address
				if end.want == encode.CloseElsewhere && (string(idle.last) != away || string(busy.last) != away) {
					t.Errorf("the last frames are %q and %q, want %q", idle.last, busy.last, away)
				}
			})
		}
	})
}

// A client may ask for heartbeats more often than the pipeline sends them.
func TestHeartbeatsAtTheIntervalOfTheConnection(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, func(c *Config) { c.Heartbeat, c.Egress.Tick = time.Hour, time.Millisecond })
		often, fd := r.pair(socket{})
		r.must(r.Connect(Conn{ID: 1, FD: fd, WriteOnly: true, Heartbeat: 5 * time.Millisecond}))
		r.dial(2, socket{})
		for often.heartbeats < 3 {
			tag, _, err := often.frame()
			if err != nil || tag != encode.TagHeartbeat {
				t.Fatalf("tag %#x (%v), want a heartbeat", tag, err)
			}
			often.heartbeats++
		}
		r.drain()
	})
}
