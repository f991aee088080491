package trials

import (
	"errors"
	"io"
	"testing"
	"time"

	"sluice/telemetry"
	"sluice/transport"
)

// A client that half-closes under load still receives every response to what it sent, and then the
// end of its stream. Behind a shut gate it gets heartbeats until the gate opens.
func TestHalfClosedClientGetsItsResponsesUnderLoad(t *testing.T) {
	gates(t, func(t *testing.T, engine transport.Mode, shut bool) {
		const clients, requests, each = 20, 5, 40 // 140 KB for each client: more than its socket buffers hold
		r := newRig(t, options{engine: engine, sendBuffer: 8 << 10, heartbeat: 100 * time.Millisecond})
		load := r.followers(20, 200)
		r.most = func() int { // 80 KB ahead of the slowest, far from its limits however rarely it is scheduled
			least := load[0].stream.Load()
			for _, c := range load {
				least = min(least, c.stream.Load())
			}
			return len(load) * int(least+400)
		}
		stop, checked := make(chan struct{}), watch(load)
		streamed := r.stream(10_000, endless, stop)
		for round := range scale(2, 5, 500) {
			if shut {
				r.shutGate()
			}
			var list []*reader
			for i := range clients {
				h := r.tcp
				if i%2 == 1 {
					h = r.unix
				}
				list = append(list, r.dial(beating(h), 700))
			}
			r.need(all(list, func(c *reader) error {
				for i := range requests {
					if err := c.ask(uint64(i*each+1), each); err != nil {
						return err
					}
				}
				return c.CloseWrite()
			}))
			if shut {
				until(t, "the ends of their streams to be read", func() (all bool) {
					r.call(func(f *feed) { all = f.ended == (round+1)*clients })
					return all
				})
				r.need(all(list, (*reader).beat))
				r.openGate()
			}
			r.need(all(list, func(c *reader) error {
				for range requests {
					if err := c.freed(each); err != nil {
						return err
					}
				}
				if _, _, err := c.frame(); err != io.EOF {
					return errors.Join(errors.New("after the last answer: want the end of the stream"), err)
				}
				return c.Close()
			}))
		}
		close(stop)
		<-streamed
		r.need(<-checked)
		until(t, "the half-closed connections to end", func() bool { return r.pipeline.Connections() == 20 })
		r.drain()
	})
}

// A client that is kicked under load has received a prefix of its stream, its connection is closed
// at once, and no other client is affected. The kick does not wait for a shut gate that holds notes
// to the client.
func TestKickUnderLoad(t *testing.T) {
	gates(t, func(t *testing.T, engine transport.Mode, shut bool) {
		r := newRig(t, options{engine: engine, sendBuffer: 8 << 10})
		victims := r.followers(10, 300)
		conns := make([]uint64, len(victims))
		for i, c := range victims {
			conns[i] = r.conn(c)
		}
		stop, checked := make(chan struct{}), watch(r.followers(20, 300))
		if shut {
			r.shutGate()
			r.call(func(f *feed) { f.tick(len(f.followers)) }) // so that each has a note to come
		}
		streamed := r.stream(20_000, endless, stop)
		kicked := make(chan error, 1)
		go func() { kicked <- all(victims, (*reader).prefix) }()
		for _, c := range conns {
			r.need(r.pipeline.Kick(c, transport.ReasonKicked))
		}
		for _, c := range conns {
			if n := r.closed(c); n.Reason != transport.ReasonKicked {
				t.Errorf("a kicked connection was closed for %v", n.Reason)
			}
		}
		r.need(<-kicked)
		if shut {
			for _, c := range victims {
				if c.next != 1 {
					t.Errorf("%d notes came from behind the shut gate", c.next-1)
				}
			}
			r.openGate()
		}
		r.need(r.pipeline.Kick(conns[0], transport.ReasonKicked)) // kicking a closed connection is no error
		close(stop)
		<-streamed
		r.need(<-checked)
		r.drain()
	})
}

// Under permanent load only idle clients get heartbeats, not those that are busy or blocked. A
// client whose responses are held by a shut gate is idle.
func TestHeartbeatsGoToIdleClientsOnly(t *testing.T) {
	gates(t, func(t *testing.T, engine transport.Mode, shut bool) {
		const interval, owed, size = time.Second, 3000, 200
		r := newRig(t, options{engine: engine, heartbeat: interval, sendBuffer: 4608})
		idle := []*reader{r.dial(beating(r.tcp), size), r.dial(beating(r.unix), size)}
		from := time.Now()
		var busy []*reader
		for range 10 {
			busy = append(busy, r.dial(beating(r.tcp), size))
		}
		r.need(all(busy, (*reader).follow))
		dialled := time.Now()
		mute := r.dial(how{network: "tcp", address: r.tcp.address, receive: 1, beats: true}, size)
		r.need(errors.Join(mute.ask(1, owed), mute.Flush()))
		until(t, "a blocked client", func() bool { return r.gauge(telemetry.EgressBlockedConnections) >= 1 })
		blocked := time.Since(dialled) // until then it may have been idle
		asked := len(busy) + 2
		if shut {
			r.shutGate()
			r.need(all(idle, func(c *reader) error { return errors.Join(c.ask(1, 1), c.Flush()) }))
			asked += len(idle)
		}
		stop, checked := make(chan struct{}), watch(busy)
		before := time.Since(from)
		streamed := r.stream(5_000, endless, stop)
		for range 2 { // each idle client gets heartbeats repeatedly
			r.need(all(idle, (*reader).beat))
		}
		// A heartbeat to the blocked client would come before the response to this request.
		r.need(errors.Join(mute.ask(owed+1, 1), mute.Flush()))
		until(t, "all requests to be read", func() bool { return r.listener.Counters().Requests == uint64(asked) })
		if shut {
			r.openGate()
			r.need(all(idle, func(c *reader) error { return c.freed(1) }))
		}
		ending := time.Now()
		close(stop)
		<-streamed
		r.need(<-checked)
		after := time.Since(ending)
		beats := 0
		for _, c := range busy {
			beats += c.beats
		}
		var gap time.Duration
		r.call(func(f *feed) { gap = f.gap })
		if idle := max(before, gap, after); !shut && beats > 0 && idle < interval/2 {
			t.Errorf("%d heartbeats to clients that were never idle for more than %v", beats, idle)
		}
		r.need(errors.Join(mute.notes(owed), mute.end(), mute.notes(1), mute.end()))
		if mute.beats > 0 && blocked < interval/2 {
			t.Errorf("%d heartbeats to a client that was blocked", mute.beats)
		}
		r.drain()
	})
}

// beating makes the heartbeats visible to the client.
func beating(h how) how {
	h.beats = true
	return h
}

// A client gets the id of a closed connection whose responses wait behind the shut gate. When the
// gate opens, the new client receives its own responses and none of those.
func TestReusedIDGetsNoResponsesOfItsFormerOwner(t *testing.T) {
	engines(t, func(t *testing.T, engine transport.Mode) {
		r := newRig(t, options{engine: engine, ids: 1})
		for range scale(5, 20, 1000) {
			r.shutGate()
			old := r.dial(r.tcp, 300)
			var before uint64
			r.call(func(f *feed) { before = f.slots })
			r.need(errors.Join(old.ask(1, 50), old.Flush()))
			until(t, "its responses to be published", func() (all bool) {
				r.call(func(f *feed) { all = f.slots == before+50 })
				return all
			})
			old.reset()
			until(t, "its connection to end and its id to be free", func() bool { return r.pipeline.Connections() == 0 && len(r.feed.ids) == 1 })
			c := r.dial(r.unix, 300)
			r.need(errors.Join(c.ask(1, 50), c.Flush()))
			r.openGate()
			r.need(errors.Join(c.notes(50), c.end()))
			r.need(c.exchange(1))
			c.Close()
			until(t, "the id to be free", func() bool { return r.pipeline.Connections() == 0 && len(r.feed.ids) == 1 })
		}
		if n := r.fresh.Load(); n != 0 {
			t.Errorf("%d connections got another id", n)
		}
		r.drain()
	})
}
