package trials

import (
	"errors"
	"io"
	"testing"
	"time"

	"sluice/transport"
)

// A client that half-closes under load still receives every answer to what it sent, and then the end of its stream.
func TestAHalfClosedClientGetsItsAnswersUnderLoad(t *testing.T) {
	engines(t, func(t *testing.T, engine transport.Mode) {
		r := newRig(t, options{engine: engine, sendBuffer: 8 << 10})
		stop, checked := make(chan struct{}), watch(r.followers(20, 200))
		streamed := r.stream(10_000, endless, stop)
		for range scale(2, 5, 500) {
			var list []*reader
			for i := range 20 {
				h := r.tcp
				if i%2 == 1 {
					h = r.unix
				}
				list = append(list, r.dial(h, 700))
			}
			r.need(all(list, func(c *reader) error {
				const requests, each = 5, 40 // 140 KB: more than the sockets take at once
				for i := range requests {
					if err := c.ask(uint64(i*each+1), each); err != nil {
						return err
					}
				}
				if err := c.CloseWrite(); err != nil {
					return err
				}
				for range requests {
					if err := errors.Join(c.notes(each), c.end()); err != nil {
						return err
					}
				}
				if _, _, err := c.Next(); err != io.EOF {
					return errors.Join(errors.New("after the last answer: want the end of the stream"), err)
				}
				return c.Close()
			}))
		}
		close(stop)
		<-streamed
		r.need(<-checked)
		until(t, "the half-closed are gone", func() bool { return r.pipeline.Connections() == 20 })
		r.drain()
	})
}

// A client that is kicked under fire received a prefix; it is gone at once for its reader, too; nobody else is affected.
func TestAKickUnderFire(t *testing.T) {
	engines(t, func(t *testing.T, engine transport.Mode) {
		r := newRig(t, options{engine: engine, sendBuffer: 8 << 10})
		victims := r.followers(10, 300)
		conns := make([]uint64, len(victims))
		for i, c := range victims {
			conns[i] = r.conn(c)
		}
		stop, checked := make(chan struct{}), watch(r.followers(20, 300))
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
		r.need(r.pipeline.Kick(conns[0], transport.ReasonKicked)) // one that is gone is no error
		close(stop)
		<-streamed
		r.need(<-checked)
		r.drain()
	})
}

// Under permanent load only idle clients get heartbeats: neither the busy ones, nor those that are blocked.
func TestHeartbeatsGoToIdleClientsOnly(t *testing.T) {
	engines(t, func(t *testing.T, engine transport.Mode) {
		const interval, owed, size = time.Second, 3000, 200
		r := newRig(t, options{engine: engine, heartbeat: interval, sendBuffer: 4608})
		idle := []*reader{r.dial(beating(r.tcp), size), r.dial(beating(r.unix), size)}
		var busy []*reader
		for range 10 {
			busy = append(busy, r.dial(beating(r.tcp), size))
		}
		r.need(all(busy, (*reader).follow))
		mute := r.dial(how{network: "tcp", address: r.tcp.address, receive: 1, beats: true}, size)
		r.need(errors.Join(mute.ask(1, owed), mute.Flush()))
		until(t, "one is blocked", func() bool { return r.gauge("egress_blocked_connections") >= 1 })
		stop, checked := make(chan struct{}), watch(busy)
		streamed := r.stream(5_000, endless, stop)
		for range 2 { // each idle client hears from the server, again and again
			r.need(all(idle, func(c *reader) error {
				tag, _, err := c.Next()
				if err == nil && tag != 0x01 {
					err = errors.New("an idle client received something else than a heartbeat")
				}
				return err
			}))
		}
		// A heartbeat to the blocked one would stand before the answer to this.
		r.need(errors.Join(mute.ask(owed+1, 1), mute.Flush()))
		until(t, "all requests are read", func() bool { return r.listener.Counters().Requests == uint64(len(busy)+2) })
		close(stop)
		<-streamed
		r.need(<-checked)
		beats := 0
		for _, c := range busy {
			beats += c.beats
		}
		var gap time.Duration
		r.call(func(f *feed) { gap = f.gap })
		if beats > 0 && gap < interval/2 {
			t.Errorf("%d heartbeats to clients that were never idle for more than %v", beats, gap)
		}
		r.need(errors.Join(mute.notes(owed), mute.end(), mute.notes(1), mute.end()))
		if mute.beats > 0 {
			t.Errorf("%d heartbeats to a client that was blocked", mute.beats)
		}
		r.drain()
	})
}

// beating shows a client its heartbeats.
func beating(h how) how {
	h.beats = true
	return h
}

// A client gets the id of one that left while its answers wait behind the shut gate: when the gate opens, the newcomer
// receives its own answers and none of those.
func TestAnIDIsUsedAgainWhileAnswersOfItsOldOwnerWait(t *testing.T) {
	engines(t, func(t *testing.T, engine transport.Mode) {
		r := newRig(t, options{engine: engine, ids: 1})
		for range scale(5, 20, 1000) {
			r.call(func(f *feed) { f.shut = true })
			old := r.dial(r.tcp, 300)
			var before uint64
			r.call(func(f *feed) { before = f.slots })
			r.need(errors.Join(old.ask(1, 50), old.Flush()))
			until(t, "its answers are published", func() (all bool) {
				r.call(func(f *feed) { all = f.slots == before+50 })
				return all
			})
			old.reset()
			until(t, "it is gone, and its id is free", func() bool { return r.pipeline.Connections() == 0 && len(r.feed.ids) == 1 })
			c := r.dial(r.unix, 300)
			r.need(errors.Join(c.ask(1, 50), c.Flush()))
			r.call(func(f *feed) { f.shut = false })
			r.need(errors.Join(c.notes(50), c.end()))
			r.need(c.exchange(1))
			c.Close()
			until(t, "the id is free", func() bool { return r.pipeline.Connections() == 0 && len(r.feed.ids) == 1 })
		}
		if n := r.fresh.Load(); n != 0 {
			t.Errorf("%d connections got another id", n)
		}
		r.drain()
	})
}
