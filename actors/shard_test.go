package actors

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/actors/internal/run"
	"sluice/encode"
	"sluice/telemetry"
	"sluice/transport"
)

func TestTrap13OneStepServesEveryDirtyConnection(t *testing.T) {
	const n = 1000 // on a ring of 8
	b := newTable(t, func(c *Config) { c.Batch = n })
	for id := uint64(1); id <= n; id++ {
		b.join(id)
	}
	for id := uint64(1); id <= n; id++ {
		b.saySize(id, 100)
	}
	b.persist()
	b.gate.Step(b.now)
	b.encoder.Step(b.now)
	for b.shards[0].Frames().Len() > 0 {
		b.shards[0].Step(b.now)
	}
	for id := int32(1); id <= n; id++ {
		if b.ring.bytes[id] != 113 || b.ring.sends[id] != 1 {
			t.Fatalf("connection %d was sent %d bytes in %d sends, want 113 in one", id,
				b.ring.bytes[id], b.ring.sends[id])
		}
	}
}

func TestTrap05QueuedSendDoesNotCountAgainstTheHardLimit(t *testing.T) {
	b := newTable(t, func(c *Config) { c.MaxFrame = 128 << 10 })
	b.join(1)
	const n = 100 // 10 MB for a client that takes everything, under a limit of 1 MiB
	for range n {
		b.saySize(1, 100<<10)
	}
	b.persist()
	b.settle()
	if why, closed := b.closed[1]; closed {
		t.Fatalf("a client that takes everything was closed as %v", why)
	}
	if want := n * (100<<10 + encode.BatchEndBytes); b.ring.bytes[1] != want {
		t.Errorf("%d bytes were sent, want %d", b.ring.bytes[1], want)
	}
}

// A client whose bytes accumulate because the ring has just failed is not slow, whichever limit its
// next response would exceed.
func TestShardClosesNoClientAsSlowForARingInDoubt(t *testing.T) {
	for name, change := range map[string]func(c *Config){
		"hard limit": func(c *Config) {
			l := lenient()
			l.HardBytes, l.SoftBytes = 8192, 8192
			c.Limits, c.MaxFrame = []transport.Limits{l}, 4096
		},
		"budget of the shard": func(c *Config) { c.ShardBudget, c.MaxFrame = 2<<20, 900<<10 },
	} {
		t.Run(name, func(t *testing.T) {
			b := newTable(t, change)
			b.join(1)
			b.join(2)
			b.ring.broken = transport.ErrRingInDoubt
			const n = 8
			size := b.cfg.MaxFrame * 2 / 3
			for range n {
				b.saySize(1, size)
				b.saySize(2, size)
			}
			b.persist()
			b.step()
			if b.shards[0].Err() == nil {
				t.Fatal("the shard did not detect it")
			}
			if b.shards[0].Close() == nil {
				t.Error("the shard ended without an error")
			}
			b.control.Step(b.now) // delivers the notices
			for id := uint64(1); id <= 2; id++ {
				if why := b.closed[id]; why != transport.ReasonShutdown {
					t.Errorf("connection %d was closed as %v", id, why)
				}
			}
			b.shards[0].Recorder().Unpark()
			if n := b.sum(telemetry.DropSlowClient.Counter()); n != 0 {
				t.Errorf("%d responses were dropped as those of a slow client", n)
			}
		})
	}
}

// blockedTable returns a table whose connection 1 has unsent bytes and a socket that takes none.
func blockedTable(t *testing.T, l transport.Limits) *table {
	b := newTable(t, func(c *Config) { c.Limits, c.MaxFrame = []transport.Limits{l}, 4096 })
	b.join(1)
	b.refuse(1, unix.EAGAIN)
	b.saySize(1, 2000)
	b.persist()
	b.settle()
	return b
}

func TestShardClosesBlockedConnectionsByTimer(t *testing.T) {
	for _, c := range []struct {
		name  string
		edit  func(l *transport.Limits)
		after time.Duration
		want  transport.Reason
	}{
		{"no progress", func(l *transport.Limits) { l.NoProgress = 5 * time.Second },
			5 * time.Second, transport.ReasonStalled},
		{"over the soft limit", func(l *transport.Limits) {
			l.SoftBytes, l.SoftFor = 1000,
				2*time.Second
		}, 2 * time.Second, transport.ReasonSlowSoft},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := lenient()
			c.edit(&l)
			b := blockedTable(t, l)
			b.pass(c.after-100*time.Millisecond, 50*time.Millisecond)
			if why, closed := b.closed[1]; closed {
				t.Fatalf("closed as %v before its time", why)
			}
			b.pass(200*time.Millisecond, 50*time.Millisecond)
			if why := b.closed[1]; why != c.want {
				t.Fatalf("closed as %v, want %v", why, c.want)
			}
			b.settle()
			if b.ring.shut[1] != 1 || b.ring.closed[1] != 1 || b.Connections() != 0 {
				t.Errorf("shut %d times, closed %d times, %d permits out; want 1, 1, 0",
					b.ring.shut[1], b.ring.closed[1], b.Connections())
			}
			if n := b.sum(telemetry.DropSlowClient.Counter()); n != 1 {
				t.Errorf("%d responses dropped as those of a slow client, want 1", n)
			}
		})
	}
}

func TestShardKeepsAClientThatTakesALittleAtATime(t *testing.T) {
	l := lenient()
	l.NoProgress = time.Second
	b := blockedTable(t, l)
	b.ring.answer = func(int32, int) int32 { return 1 }
	for i := range 100 { // one byte every 900 ms
		b.pass(900*time.Millisecond, 50*time.Millisecond)
		if why, closed := b.closed[1]; closed {
			t.Fatalf("closed as %v after %d bytes", why, i)
		}
		b.ring.ready(1)
		b.settle()
	}
	if b.ring.bytes[1] < 100 {
		t.Errorf("%d bytes were taken, want at least 100", b.ring.bytes[1])
	}
}

func TestShardKeepsAClientWhoseKernelReportsReads(t *testing.T) {
	l := lenient()
	l.NoProgress = time.Second
	b := blockedTable(t, l)
	for b.ring.unread = 200; b.ring.unread > 100; b.ring.unread-- { // its socket takes nothing yet
		b.pass(400*time.Millisecond, 50*time.Millisecond)
		if why, closed := b.closed[1]; closed {
			t.Fatalf("closed as %v with %d bytes unread", why, b.ring.unread)
		}
	}
	b.pass(2*time.Second, 50*time.Millisecond)
	if why := b.closed[1]; why != transport.ReasonStalled {
		t.Errorf("closed as %v after it stopped reading, want stalled", why)
	}
}

// A shard that did not run cannot know what its clients did: a pause counts against no limit, and
// the limits continue after it.
func TestShardPauseCountsAgainstNoClient(t *testing.T) {
	l := lenient()
	l.NoProgress, l.SoftBytes, l.SoftFor = time.Second, 1000, time.Second
	b := blockedTable(t, l)
	b.pass(300*time.Millisecond, 50*time.Millisecond)
	for range 3 {
		b.pass(time.Hour, time.Hour)
		if why, closed := b.closed[1]; closed {
			t.Fatalf("closed as %v after an hour in which the shard did not run", why)
		}
	}
	b.pass(400*time.Millisecond, 50*time.Millisecond)
	if why, closed := b.closed[1]; closed {
		t.Fatalf("closed as %v after less than a second", why)
	}
	b.pass(500*time.Millisecond, 50*time.Millisecond)
	if why := b.closed[1]; why != transport.ReasonSlowSoft {
		t.Errorf("closed as %v, want %v: the limits apply again", why, transport.ReasonSlowSoft)
	}
}

func TestShardSendsNothingToABlockedSocketUntilItIsWritable(t *testing.T) {
	b := blockedTable(t, lenient())
	sends := b.ring.sends[1]
	for range 100 {
		b.saySize(1, 20)
		b.persist()
		b.pass(10*time.Millisecond, 10*time.Millisecond)
	}
	if n := b.ring.sends[1] - sends; n != 0 {
		t.Errorf("%d sends on a socket that refuses bytes", n)
	}
	if len(b.ring.polls) != 1 {
		t.Errorf("%d polls pending, want 1", len(b.ring.polls))
	}
	b.refuse(1, 0)
	b.ring.ready(1)
	b.settle()
	if want := 2013 + 100*33; b.ring.bytes[1] != want || b.ring.sends[1] != sends+1 {
		t.Errorf("%d bytes in %d sends once it was ready, want %d in one", b.ring.bytes[1],
			b.ring.sends[1]-sends, want)
	}
	if got := b.sum(telemetry.EgressFramesSent); got != 101 {
		t.Errorf("%d responses delivered, want 101", got)
	}
}

func TestShardHandlesEachErrorOfASend(t *testing.T) {
	for _, c := range []struct {
		errno unix.Errno
		want  transport.Reason // ReasonNone: it is sent eventually
	}{
		{unix.EINTR, transport.ReasonNone}, {unix.ENOBUFS, transport.ReasonNone},
		{unix.ENOMEM, transport.ReasonNone},
		{unix.EPIPE, transport.ReasonPeerReset}, {unix.ECONNRESET, transport.ReasonPeerReset},
		{unix.ETIMEDOUT, transport.ReasonPeerReset}, {unix.EBADF, transport.ReasonSendError},
		{unix.EINVAL, transport.ReasonSendError},
	} {
		t.Run(unix.ErrnoName(c.errno), func(t *testing.T) {
			b := newTable(t, nil)
			b.join(1)
			failed := 0
			b.ring.answer = func(_ int32, n int) int32 {
				if failed++; failed <= 2 {
					return -int32(c.errno)
				}
				return int32(n)
			}
			b.saySize(1, 100)
			b.persist()
			b.pass(time.Second, 50*time.Millisecond)
			if why := b.closed[1]; why != c.want {
				t.Fatalf("closed as %v, want %v", why, c.want)
			}
			if sent := b.ring.bytes[1]; (c.want == transport.ReasonNone) != (sent == 113) {
				t.Errorf("%d bytes were sent", sent)
			}
			if n := b.sum(telemetry.EgressFramesSent); (c.want == transport.ReasonNone) != (n == 1) {
				t.Errorf("%d responses counted as delivered", n)
			}
		})
	}
}

func TestTrap15FenceSendsNothingThatIsBuffered(t *testing.T) {
	b := blockedTable(t, lenient()) // connection 1 has 2005 bytes in its buffer
	b.join(2)
	b.saySize(2, 100)
	b.persist()
	b.gate.Step(b.now)
	b.encoder.Step(b.now) // and connection 2 has a response in the shard's inbox
	b.refuse(1, 0)
	b.ring.ready(1) // both could be sent now
	b.phase.Advance(run.PhaseFenced, b.now+int64(time.Second))
	b.settle()
	if b.ring.bytes[1] != 0 || b.ring.bytes[2] != 0 {
		t.Errorf("%d and %d bytes were sent after the fence", b.ring.bytes[1], b.ring.bytes[2])
	}
	if n := b.sum(telemetry.DropFenced.Counter()); n != 2 {
		t.Errorf("%d responses dropped as fenced, want 2", n)
	}
	if b.ring.shut[1] != 1 || b.ring.shut[2] != 1 || b.Connections() != 0 {
		t.Errorf("sockets shut %d and %d times, %d permits out", b.ring.shut[1], b.ring.shut[2],
			b.Connections())
	}
}

func TestShardIgnoresCompletionsOfAnEarlierGeneration(t *testing.T) {
	b := blockedTable(t, lenient())
	stale := b.ring.polls[0]
	b.shards[0].End(1, transport.ReasonKicked, b.now)
	b.settle()
	if b.Connections() != 0 {
		t.Fatal("the connection was not released")
	}
	b.refuse(1, 0)
	b.join(2) // takes the same entry
	if e := b.shards[0]; len(e.Table()) != 2 {
		t.Fatalf("%d entries, want the one to be reused", len(e.Table())-1)
	}
	b.ring.done = append(b.ring.done, transport.Completion{User: stale.User, Res: 4})
	b.settle()
	if n := b.sum(telemetry.EgressStale); n != 1 {
		t.Errorf("%d stale completions counted, want 1", n)
	}
}

func TestShardIdleConnectionHoldsNoBuffer(t *testing.T) {
	b := newTable(t, nil)
	for id := uint64(1); id <= 100; id++ {
		b.join(id)
		b.saySize(id, 400)
	}
	b.persist()
	b.settle()
	if n := b.shards[0].Slab().InUse(); n != 0 {
		t.Errorf("100 idle connections hold %d bytes of buffers", n)
	}
	if n := b.sum(telemetry.EgressFramesSent); n != 100 {
		t.Errorf("%d responses delivered, want 100", n)
	}
}

func TestCloseReasonsAgreeWithTelemetry(t *testing.T) {
	if transport.NumCloseReasons != telemetry.NumCloseReasons {
		t.Fatalf("%d reasons in transport, %d in telemetry", transport.NumCloseReasons,
			telemetry.NumCloseReasons)
	}
	for r := range transport.Reason(transport.NumCloseReasons) {
		if got := telemetry.CloseReason(r).Name(); got != r.String() {
			t.Errorf("reason %d is %q in transport and %q in telemetry", r, r, got)
		}
	}
}

// A stop flushes once more, including what was appended after a send that was queued early.
func TestStopSendsWhatFollowsAQueuedSend(t *testing.T) {
	b := newTable(t, func(c *Config) { c.Egress.FlushBytes = 100 })
	b.join(1)
	const n = 5
	for range n {
		b.saySize(1, 200) // the first one's send is queued at once, and waits for the flush
	}
	b.persist()
	b.gate.Step(b.now)
	b.encoder.Step(b.now)
	b.phase.Advance(run.PhaseStopping, b.now+int64(time.Second))
	b.gate.Close()
	b.encoder.Close()
	b.shards[0].Step(b.now)
	if want := n*(200+encode.BatchEndBytes) + 11; b.ring.bytes[1] != want {
		t.Errorf("%d bytes were sent, want the %d of all that was released, and of Close", b.ring.bytes[1], want)
	}
	if b.ring.shut[1] != 1 {
		t.Errorf("shut %d times, want once", b.ring.shut[1])
	}
}

// A fence may come in the middle of a step, which then sees that the pipeline ends: it is not a
// stop, so clients are sent nothing more, no farewell either (R15).
func TestFenceWithinAStepSendsNothingMore(t *testing.T) {
	b := newTable(t, nil)
	b.offer(1, 100)
	b.ring.answer = func(_ int32, n int) int32 {
		b.phase.Advance(run.PhaseFenced, b.now+int64(time.Second))
		b.gate.Close()
		b.encoder.Close()
		return int32(n)
	}
	b.shards[0].Step(b.now)
	if want := 100 + encode.BatchEndBytes; b.ring.bytes[1] != want || b.ring.shut[1] != 1 {
		t.Errorf("%d bytes were sent, and the socket was shut %d times; want %d and one", b.ring.bytes[1],
			b.ring.shut[1], want)
	}
}
