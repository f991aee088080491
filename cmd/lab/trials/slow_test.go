package trials

import (
	"fmt"
	"io"
	"testing"
	"time"

	"sluice/transport"
)

// A client that reads 1 KiB/s stays connected while it is within its limits. One that reads nothing
// is closed after the limit that it exceeded, with that reason. What other clients receive does not
// change.
func TestSlowReaderStaysAndSilentReaderIsClosed(t *testing.T) {
	engines(t, func(t *testing.T, engine transport.Mode) {
		const size, progress = 200, 8 * time.Second // a unix socket shows progress once the client has read a whole send
		limits := transport.Limits{HardBytes: 1 << 20, SoftBytes: 512 << 10, SoftFor: 2 * time.Second, NoProgress: progress}
		r := newRig(t, options{engine: engine, sendBuffer: 4608, limits: limits})
		seconds := scale(12, 12, 120)
		healthy := r.followers(20, size)
		stop, checked := make(chan struct{}), watch(healthy)
		done := r.stream(2000, endless, stop)

		var slow []*reader
		for _, h := range []how{r.tcp, r.unix} {
			h.receive = 1 // the minimum, so that the server sees every segment that the client reads
			slow = append(slow, r.dial(h, size))
		}
		const owed = 1500 // notes, 300 KB: more than the kernel buffers, less than the soft limit
		dead := []struct {
			why   transport.Reason
			notes int
			least time.Duration // it must not be closed earlier
		}{
			{transport.ReasonStalled, owed, progress},
			{transport.ReasonSlowSoft, 4500, limits.SoftFor},
			{transport.ReasonSlowHard, 12000, 0},
		}
		for _, d := range dead {
			for _, h := range []how{r.tcp, r.unix} {
				h.receive = 4 << 10
				c := r.dial(h, size)
				r.need(c.follow())
				var conn uint64
				r.call(func(f *feed) { conn = f.to(c.token, d.notes); f.forget(conn) })
				defer func() {
					n := r.closed(conn)
					if n.Reason != d.why || n.Blocked < d.least || n.Unsent == 0 {
						t.Errorf("a client on %s that reads nothing and is owed %d B was closed for %v with %d B unsent after %v, want %v, not before %v",
							h.network, d.notes*size, n.Reason, n.Unsent, n.Blocked, d.why, d.least)
					}
					t.Logf("%s: %v after %v with %d B unsent", h.network, n.Reason, n.Blocked, n.Unsent)
					r.need(c.prefix())
				}()
			}
		}
		for _, c := range slow {
			r.need(c.ask(1, owed))
			r.need(c.Flush())
		}
		r.need(all(slow, func(c *reader) error { return drip(c, seconds) }))
		close(stop)
		<-done
		r.need(<-checked)
		// Slow clients within their limits received everything.
		r.need(all(slow, func(c *reader) error { return c.notes(owed - int(c.next-1)) }))
		r.need(all(slow, (*reader).end))
		for _, c := range slow {
			r.need(c.exchange(1))
		}
		t.Cleanup(r.drain)
	})
}

// drip reads and checks 1 KiB a second for a number of seconds.
func drip(c *reader, seconds int) error {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	const perSecond = 1 << 10
	whole := 0 // bytes of whole notes read so far
	for s := range seconds {
		<-every.C
		n := (s+1)*perSecond/c.size - whole
		if err := c.notes(n); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("after %d s at 1 KiB/s: %w", s, err)
		}
		whole += n
	}
	return nil
}
