package trials

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/actors"
	"sluice/telemetry"
	"sluice/transport"
)

// refusals are the errnos with which the kernel refuses a call.
func refusals() []unix.Errno {
	return []unix.Errno{unix.EINTR, unix.EAGAIN, unix.EBUSY, unix.ENOMEM, unix.ENOBUFS, unix.EIO, unix.EBADF, unix.EPIPE, unix.ECONNRESET}
}

// The n-th system call of a ring fails, for every n of a script in which clients connect, follow,
// block, are kicked, reconnect, half-close and disconnect. Whatever the call was, every client
// receives a prefix of what it was sent, and all of it unless its own send failed or the ring came
// to be in doubt. A ring in doubt reports that once and is not used again. The counters show the
// failure, and nothing is left.
func TestEveryCallOfARingFailsOnce(t *testing.T) {
	engines(t, func(t *testing.T, engine transport.Mode) {
		stride, dense := scale(23, 13, 1), int64(scale(10, 16, 0)) // the first calls are all tried
		began, runs, calls, hits := time.Now(), 0, int64(0), map[string]int{}
		for _, burst := range []int64{1, 20} {
			for i, errno := range refusals() {
				for n, step := int64(1), int64(1); ; n += step {
					if n == dense {
						n, step = n+int64(i%stride), int64(stride)
					}
					p := &play{t: t, errno: errno, at: n, burst: burst}
					p.run(engine)
					if t.Failed() {
						return
					}
					runs, calls = runs+1, max(calls, p.calls.Load())
					for c := range p.hit {
						if p.hit[c].Load() > 0 {
							hits[transport.Call(c).String()]++
						}
					}
					if n > p.calls.Load() {
						break
					}
				}
			}
		}
		t.Logf("%d runs of a script of at most %d calls, %v: %v", runs, calls, time.Since(began).Round(time.Millisecond), hits)
		for c := transport.CallSend; int(c) < transport.NumCalls; c++ {
			rare := c == transport.CallUnread || c == transport.CallDisarm && stride > 1 // these depend on a silent client, or on a race with the poll itself
			if !rare && hits[c.String()] == 0 {
				t.Errorf("%v never failed: the script does not reach it", c)
			}
		}
	})
}

// play is one run of the script.
type play struct {
	t         *testing.T
	r         *rig
	errno     unix.Errno
	at, burst int64 // the calls at..at+burst-1 fail
	calls     atomic.Int64
	hit       [transport.NumCalls]atomic.Int64 // failed calls by kind
	ring      *watched
	out       error // of clients whose connections ended at once
}

// fail returns the errno of one call; 0 lets it happen.
func (p *play) fail(c transport.Call) syscall.Errno {
	n := p.calls.Add(1)
	switch {
	case n < p.at, n >= p.at+p.burst:
		return 0
	case c == transport.CallDisarm && p.errno == unix.EBADF: // never EBADF: that descriptor is open and belongs to the ring
		return 0
	case c == transport.CallShutdown && n > p.at: // otherwise a client could wait forever for the end of its stream
		return 0
	}
	p.hit[c].Add(1)
	return p.errno
}

// what names the calls that failed.
func (p *play) what() string {
	var names []string
	for c := range p.hit {
		if n := p.hit[c].Load(); n > 0 {
			names = append(names, fmt.Sprintf("%d of %v", n, transport.Call(c)))
		}
	}
	return strings.Join(names, ", ")
}

// refused reports whether a call failed with one of the errnos, or with any if none is given.
func (p *play) refused(c transport.Call, errnos ...unix.Errno) bool {
	return p.hit[c].Load() > 0 && (len(errnos) == 0 || slices.Contains(errnos, p.errno))
}

// mayFail reports whether the ring may be in doubt: the outcome of a call is unknown, or
// completions are lost.
func (p *play) mayFail() bool {
	return p.refused(transport.CallEnter) && !p.refused(transport.CallEnter, unix.EINTR, unix.EAGAIN, unix.EBUSY, unix.ENOMEM) ||
		p.refused(transport.CallWait) && !p.refused(transport.CallWait, unix.EINTR)
}

// mayLose reports whether a failed send of its own may have ended a connection.
func (p *play) mayLose() bool {
	return p.refused(transport.CallSend) && !p.refused(transport.CallSend, unix.EAGAIN, unix.EINTR, unix.ENOBUFS, unix.ENOMEM)
}

// player is a client of the script. One with want 0 is satisfied by its first note.
type player struct {
	*reader
	want  uint64
	got   chan struct{} // closed when it has all its notes or its stream has ended
	ended chan error
}

// join connects a client that waits for a number of notes: as a follower, or after a request and a
// half-close. It returns nil if its connection ended at once.
func (p *play) join(h how, want uint64, follow bool) *player {
	c, err := connect(h, p.r.tokens.Add(1)<<32|0xFA11, 300)
	switch {
	case err != nil:
	case follow:
		err = c.follow()
	default:
		err = errors.Join(c.ask(1, int(want)), c.Flush(), c.CloseWrite())
	}
	if err != nil {
		if c != nil {
			c.Close()
		}
		p.out = errors.Join(p.out, err)
		return nil
	}
	p.r.mu.Lock()
	p.r.readers = append(p.r.readers, c)
	p.r.mu.Unlock()
	return &player{reader: c, want: want, got: make(chan struct{}), ended: make(chan error, 1)}
}

// read reads to the end of the stream.
func (c *player) read() {
	told := sync.OnceFunc(func() { close(c.got) })
	c.each = func() {
		if c.next > c.want {
			told()
		}
	}
	c.ended <- c.prefix()
	told()
}

func (p *play) run(engine transport.Mode) {
	defer func() {
		if p.t.Failed() {
			p.t.Logf("call %d and %d more: %v (%s); the server: %v", p.at, p.burst-1, p.errno, p.what(), p.r.failed())
		}
	}()
	limits := lenient()
	limits.HardBytes, limits.SoftBytes = 128<<10, 128<<10
	p.r = newRig(p.t, options{
		limits: limits,
		engine: engine, shards: 1, max: 16, sendBuffer: 4608, tick: 2 * time.Millisecond, entries: 8,
		openRing: func(_ int, cfg transport.RingConfig) (transport.Ring, error) {
			ring, err := transport.OpenFailing(engine, cfg, p.fail)
			p.ring = &watched{Ring: ring}
			return p.ring, err
		},
	})
	players := p.script()
	p.wait(players)
	p.end()
	for _, c := range players {
		if err := <-c.ended; err != nil {
			p.t.Error(err)
		}
		if c.next <= c.want && !p.mayFail() && !p.mayLose() {
			p.t.Errorf("a client received %d notes of %d", c.next-1, c.want)
		}
	}
	if p.out != nil && !p.mayFail() && !p.mayLose() {
		p.t.Errorf("clients were rejected: %v", p.out)
	}
	p.r.balanced()
	p.counters()
}

// wait returns when all clients have their notes or can receive no more. A client whose socket was
// not shut down when its connection ended sees that only at the end of the server.
func (p *play) wait(players []*player) {
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	deaf, late := 0, time.After(patience)
	for _, c := range players {
		for waits := true; waits; {
			select {
			case <-c.got:
				waits = false
			case <-look.C:
				if p.refused(transport.CallShutdown) {
					deaf++
				}
				waits = deaf < 20
			case <-late:
				p.t.Fatalf("a client waits for its note %d", c.next)
			}
		}
	}
}

// script is the sequence of events up to the end of the server.
func (p *play) script() (players []*player) {
	r := p.r
	add := func(c *player) *player {
		if c != nil {
			players = append(players, c)
		}
		return c
	}
	narrow := r.tcp
	narrow.receive = 4 << 10
	for _, h := range []how{r.tcp, r.unix, narrow} {
		if c := add(p.join(h, 30, true)); c != nil {
			go c.read()
		}
	}
	kicked, late, glutton := add(p.join(r.unix, 0, true)), add(p.join(narrow, 200, true)), add(p.join(narrow, 0, true))
	owe := func(c *player, notes int) {
		if c != nil {
			r.call(func(f *feed) { f.to(c.token, notes) })
		}
	}
	for _, c := range players {
		owe(c, 30)
	}
	owe(kicked, 170)
	owe(late, 170)
	until(p.t, "two blocked clients", func() bool { return r.count(telemetry.EgressPolls) >= 2 || p.trouble() })
	owe(glutton, 900) // more than its hard limit: it is closed while its socket is polled
	until(p.t, "a closed client", p.trouble)
	if glutton != nil {
		go glutton.read()
	}
	if kicked != nil {
		go kicked.read()
		if err := r.pipeline.Kick(r.conn(kicked.reader), transport.ReasonKicked); r.failed() == nil {
			r.need(err)
		}
	}
	if late != nil {
		go late.read()
	}
	for range 2 { // reuse entry and descriptor of the kicked client
		if c := add(p.join(r.tcp, 20, false)); c != nil {
			go c.read()
		}
	}
	return players
}

// trouble reports whether a failure keeps the script from continuing.
func (p *play) trouble() bool {
	if p.r.failed() != nil {
		return true
	}
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	return slices.ContainsFunc(p.r.notices, func(n actors.ConnNotice) bool { return n.Kind == actors.NoticeClosed })
}

// end ends the server and checks the outcome.
func (p *play) end() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	failure := p.r.failed()
	err := p.r.shut(ctx, failure != nil, p.r.pipeline.Drain)
	failure = p.r.failed() // it can also fail during the end
	switch {
	case failure == nil && err != nil:
		p.t.Errorf("the end: %v", err)
	case failure != nil && !p.mayFail():
		p.t.Errorf("the server failed although the call can be retried: %v", failure)
	case failure != nil && !errors.Is(failure, transport.ErrRingInDoubt):
		p.t.Errorf("the server failed for another reason: %v", failure)
	}
	if n := p.ring.doubts.Load(); n > 1 || p.ring.misused.Load() != 0 {
		p.t.Errorf("the ring reported doubt %d times and was used %d times after it", n, p.ring.misused.Load())
	}
}

// counters checks that the failed calls were counted.
func (p *play) counters() {
	ring, sum := p.ring.Counters(), p.r.pipeline.Collector().Sum()
	for _, c := range []struct {
		call  transport.Call
		what  string
		count uint64
		when  []unix.Errno
	}{
		{transport.CallEnter, "interruptions", ring.Interrupted, []unix.Errno{unix.EINTR}},
		{transport.CallEnter, "starved hand-overs", ring.Starved, []unix.Errno{unix.EAGAIN, unix.EBUSY, unix.ENOMEM}},
		{transport.CallWait, "interruptions", ring.Interrupted, []unix.Errno{unix.EINTR}},
		{transport.CallSend, "refused sends", ring.Refused, []unix.Errno{unix.EAGAIN}},
		{transport.CallSend, "failed sends", ring.Failed + ring.Interrupted, []unix.Errno{unix.EINTR, unix.ENOMEM, unix.EIO, unix.EPIPE}},
		{transport.CallArm, "refused polls", ring.Unpolled, nil},
		{transport.CallDisarm, "refused polls", ring.Unpolled, nil},
		{transport.CallShutdown, "shutdown errors", sum.C[telemetry.EgressShutdownErrors], nil},
		{transport.CallClose, "close errors", sum.C[telemetry.EgressCloseErrors], []unix.Errno{unix.EIO, unix.EBADF}},
	} {
		if p.refused(c.call, c.when...) && c.count == 0 && !p.mayFail() {
			p.t.Errorf("no %s counted", c.what)
		}
	}
}

// watched is a ring that counts its use after it came to be in doubt.
type watched struct {
	transport.Ring
	doubts, misused atomic.Int64 // written by the ring's owner, read at the end
}

func (w *watched) use() {
	if w.doubts.Load() > 0 {
		w.misused.Add(1)
	}
}

func (w *watched) Send(fd int32, b []byte, user uint64) bool {
	w.use()
	return w.Ring.Send(fd, b, user)
}
func (w *watched) Poll(fd int32, user uint64) bool     { w.use(); return w.Ring.Poll(fd, user) }
func (w *watched) Cancel(user uint64) bool             { w.use(); return w.Ring.Cancel(user) }
func (w *watched) Reap(dst []transport.Completion) int { w.use(); return w.Ring.Reap(dst) }
func (w *watched) Park()                               { w.use(); w.Ring.Park() }

func (w *watched) Submit() error {
	w.use()
	err := w.Ring.Submit()
	if err != nil {
		w.doubts.Add(1)
	}
	return err
}
