package actors

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/actors/internal/run"
	"sluice/actors/internal/shard"
	"sluice/encode"
	"sluice/telemetry"
	"sluice/transport"
)

// A socket that takes all of every send is not blocked, regardless of what is queued behind each:
// it leaves the blocked list, and its soft clock restarts, so that one short send after a long time
// of load ends no connection.
func TestShardClientThatTakesEverySendWholeIsNotSlow(t *testing.T) {
	l := lenient()
	l.SoftBytes, l.SoftFor = 1000, 2*time.Second
	b := newTable(t, func(c *Config) {
		c.Limits, c.MaxFrame, c.Egress.FlushBytes = []transport.Limits{l}, 4096, 100
	})
	b.join(1)
	load := func(rounds int) {
		for range rounds {
			for range 10 {
				b.saySize(1, 200) // the first is sent early; the others follow it
			}
			b.persist()
			b.now += int64(50 * time.Millisecond)
			b.step() // once: its inbox never runs empty
		}
	}
	load(60) // three seconds over the soft limit
	short := true
	b.ring.answer = func(_ int32, n int) int32 {
		if short {
			short = false
			return int32(n / 2)
		}
		return int32(n)
	}
	load(1)
	b.ring.ready(1)
	load(60)
	if why, closed := b.closed[1]; closed {
		t.Fatalf("closed as %v, although one send of 120 was short", why)
	}
	if shard := b.shards[0]; shard.Blocked() != 0 {
		t.Errorf("%d connections are blocked, want none", shard.Blocked())
	}
}

// Reloaded limits apply from the next tick on, including to what is buffered already.
func TestShardAppliesTheSoftLimitInForce(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after int // soft limit, B; 2,013 B are unsent
		want          transport.Reason
	}{
		{"raised", 1000, 4096, transport.ReasonNone},
		{"lowered", 4096, 1000, transport.ReasonSlowSoft},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := lenient()
			l.HardBytes, l.SoftBytes, l.SoftFor = 8192, c.before, 2*time.Second
			b := blockedTable(t, l)
			b.pass(time.Second, 50*time.Millisecond)
			l.SoftBytes = c.after
			if err := b.SetLimits([]transport.Limits{l}); err != nil {
				t.Fatal(err)
			}
			b.pass(1900*time.Millisecond, 50*time.Millisecond)
			if why, closed := b.closed[1]; closed {
				t.Fatalf("closed as %v before the limit in force had run out", why)
			}
			b.pass(300*time.Millisecond, 50*time.Millisecond)
			if why := b.closed[1]; why != c.want {
				t.Errorf("closed as %v, want %v", why, c.want)
			}
		})
	}
}

// The completion of a poll is processed before the hard limit ends a client whose socket has room
// again.
func TestShardReapsPollsBeforeTheHardLimit(t *testing.T) {
	l := lenient()
	l.HardBytes, l.SoftBytes = 8192, 8192
	b := blockedTable(t, l)
	b.refuse(1, 0)
	b.ring.ready(1)
	for range 4 {
		b.saySize(1, 2000)
	}
	b.persist()
	b.gate.Step(b.now)
	b.encoder.Step(b.now)
	b.shards[0].Gather(b.now) // appends, before any step looks at the ring
	b.settle()
	if why, closed := b.closed[1]; closed {
		t.Fatalf("closed as %v with a socket that takes everything", why)
	}
	if want := 5 * (2000 + encode.BatchEndBytes); b.ring.bytes[1] != want {
		t.Errorf("%d bytes were sent, want %d", b.ring.bytes[1], want)
	}
}

// A socket that polled as writable and took nothing is tried again before the hard limit applies,
// ahead of its usual time.
func TestShardRetriesASendBeforeTheHardLimit(t *testing.T) {
	l := lenient()
	l.HardBytes, l.SoftBytes = 8192, 8192
	b := blockedTable(t, l)
	b.ring.ready(1)
	b.settle() // refused again
	b.refuse(1, 0)
	for range 4 {
		b.saySize(1, 2000)
	}
	b.persist()
	b.settle()
	if why, closed := b.closed[1]; closed {
		t.Fatalf("closed as %v with a socket that takes everything", why)
	}
}

// A client that has closed its sending side and waits behind a shut gate receives heartbeats.
func TestShardSendsHeartbeatsToHalfClosedClients(t *testing.T) {
	b := newTable(t, func(c *Config) { c.Heartbeat = 10 * time.Second })
	b.join(1)
	b.mail.events.TrySend(shard.Event{Kind: shard.EventDisconnect, Conn: 1, Hash: transport.Hash(1),
		Reason: transport.ReasonPeerClosed, Owed: 1})
	b.settle()
	b.pass(25*time.Second, 50*time.Millisecond)
	if n := b.sum(telemetry.EgressHeartbeats); n != 2 {
		t.Errorf("%d heartbeats in 25 s, want 2", n)
	}
	if why, closed := b.closed[1]; closed {
		t.Fatalf("closed as %v while a response is owed", why)
	}
	b.refuse(1, unix.EPIPE) // it is gone
	b.pass(13*time.Second, 50*time.Millisecond)
	if b.closed[1] != transport.ReasonPeerReset || b.Connections() != 0 {
		t.Errorf("a client that is gone: closed as %v, %d permits out; want %v and 0", b.closed[1],
			b.Connections(), transport.ReasonPeerReset)
	}
}

// A kernel that is short of memory for TCP returns EAGAIN and still reports the socket as writable
// (tcp_sendmsg, tcp_poll).
func TestShardDoesNotSpinOnAWritableSocketThatTakesNothing(t *testing.T) {
	b := blockedTable(t, lenient())
	sends := b.ring.sends[1]
	for range 20 { // of one tick each
		b.now += int64(b.cfg.Egress.Tick)
		for range 100 {
			b.ring.ready(1)
			b.step()
		}
	}
	if n := b.ring.sends[1] - sends; n > 2*20 {
		t.Errorf("%d sends in 20 ticks to a socket that takes nothing", n)
	}
	b.refuse(1, 0)
	b.pass(time.Second, 50*time.Millisecond)
	if want := 2000 + encode.BatchEndBytes; b.ring.bytes[1] != want {
		t.Errorf("%d bytes were sent once there was memory again, want %d", b.ring.bytes[1], want)
	}
}

// A queue of unsent responses at its maximum length ends its own connection and no other.
func TestShardFullResponseQueueEndsNoOtherConnection(t *testing.T) {
	b := newTable(t, func(c *Config) { c.MaxFrame = 4096 })
	b.join(1)
	b.join(2)
	b.refuse(1, unix.EAGAIN)
	b.refuse(2, unix.EAGAIN)
	for range 280 { // more bytes than the other connection will have
		b.saySize(1, 3000)
	}
	b.persist()
	b.settle()
	const most = 1 << 20 / 8 // responses that a queue can hold
	for range most/200 + 1 { // 5 B each: 656 kB, below the hard limit
		for range 200 {
			b.mail.events.TrySend(shard.Event{Kind: shard.EventBusy, Owed: 1, Conn: 2,
				Hash: transport.Hash(2), Frame: "\x01\x00\x00\x00\x04"})
		}
		b.settle()
	}
	if why, closed := b.closed[1]; closed {
		t.Errorf("the other client was closed as %v", why)
	}
	if why := b.closed[2]; why != transport.ReasonSlowHard {
		t.Errorf("closed as %v with %d unsent responses, want %v", why, most,
			transport.ReasonSlowHard)
	}
}

// Requests can be shed by the thousand. A client that reads receives ServerBusy for each, however
// low its limits are.
func TestShardSendsServerBusyForEveryShedRequest(t *testing.T) {
	l := lenient()
	l.HardBytes, l.SoftBytes = encode.MaxControl, encode.MaxControl
	b := newTable(t, func(c *Config) { c.Limits, c.MaxFrame = []transport.Limits{l}, 64 })
	b.join(1)
	const n = 1001
	shed := make([]uint64, n)
	for i := range shed {
		shed[i] = uint64(i)
	}
	if err := b.Busy(1, shed); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if why, closed := b.closed[1]; closed {
		t.Fatalf("closed as %v", why)
	}
	if sent := b.ring.bytes[1]; sent != n*13 || b.sum(telemetry.EgressBusy) != n {
		t.Errorf("%d bytes were sent and %d frames counted, want %d of 13 B", sent,
			b.sum(telemetry.EgressBusy), n)
	}
}

// Connections that end with a failed shard count as closed too.
func TestShardCountsTheConnectionsThatEndWithIt(t *testing.T) {
	b := newTable(t, nil)
	for id := uint64(1); id <= 3; id++ {
		b.join(id)
	}
	b.ring.broken = unix.EIO
	b.saySize(1, 100)
	b.persist()
	b.settle()
	if err := b.shards[0].Close(); err == nil {
		t.Fatal("a shard whose ring is in doubt ends without an error")
	}
	b.Collector().Final()
	if n := b.Collector().Sum().C[telemetry.CloseShutdown.Counter()]; n != 3 {
		t.Errorf("%d connections counted as closed, want 3", n)
	}
}

// draining returns a table in a drain whose connection 1 was sent everything; its peer has yet to
// acknowledge 100 bytes.
func draining(t *testing.T, l transport.Limits, deadline time.Duration) *table {
	b := newTable(t, func(c *Config) { c.Limits, c.Heartbeat = []transport.Limits{l}, time.Second })
	b.join(1)
	b.saySize(1, 100)
	b.persist()
	b.settle()
	b.ring.unread = 100
	until := int64(0)
	if deadline != 0 {
		until = b.now + int64(deadline)
	}
	b.phase.Advance(run.PhaseDraining, until)
	b.gate.Close()
	b.encoder.Close()
	return b
}

// wait steps the shard, the only actor left, while time passes.
func (b *table) wait(d time.Duration) {
	for ; d > 0; d -= 50 * time.Millisecond {
		b.now += int64(50 * time.Millisecond)
		b.shards[0].Step(b.now)
	}
}

// In a drain a connection is closed when its client has everything that the kernel has taken,
// because a close can lose the rest. A client that takes nothing more is awaited for its
// no-progress limit, to which a pause of the shard does not count, and receives no heartbeat that
// would restart it.
func TestDrainClosesWhenClientsHaveAcknowledged(t *testing.T) {
	l := lenient()
	l.NoProgress = 2 * time.Second
	b := draining(t, l, 0)
	for range 10 { // it takes a byte a second
		b.wait(time.Second)
		b.ring.unread--
		if b.ring.shut[1] != 0 {
			t.Fatalf("closed with %d bytes not acknowledged", b.ring.unread)
		}
	}
	b.wait(100 * time.Millisecond) // the last byte is seen
	b.now += int64(time.Hour)
	b.shards[0].Step(b.now)
	b.wait(1700 * time.Millisecond)
	if b.ring.shut[1] != 0 {
		t.Fatal("closed before the limit of no progress")
	}
	b.wait(300 * time.Millisecond)
	if n := b.shards[0].Recorder().B.C[telemetry.CloseShutdown.Counter()]; b.ring.shut[1] != 1 ||
		n != 1 {
		t.Errorf("shut %d times, %d times as %v; want once", b.ring.shut[1], n,
			transport.ReasonShutdown)
	}
}

// A drain that has sent everything does not fail because a client is slow to acknowledge it.
func TestDrainStopsWaitingBeforeItsDeadline(t *testing.T) {
	for _, deadline := range []time.Duration{time.Second, 10 * time.Second} {
		b := draining(t, lenient(), deadline)
		margin := min(time.Second, deadline/4)
		b.wait(deadline - margin - 50*time.Millisecond)
		if b.ring.shut[1] != 0 {
			t.Fatalf("of %v: closed before only %v were left", deadline, margin)
		}
		b.wait(100 * time.Millisecond)
		if b.ring.shut[1] != 1 || b.shards[0].Overdue() {
			t.Errorf("of %v: shut %d times with %v left, overdue: %v", deadline, b.ring.shut[1],
				margin, b.shards[0].Overdue())
		}
	}
}

func TestDrainPollsUnackedBytesOnceATick(t *testing.T) {
	b := draining(t, lenient(), 0)
	for range 1000 {
		b.shards[0].Step(b.now)
	}
	if n := b.ring.asked; n != 1 {
		t.Errorf("the kernel was asked %d times at one moment, want once", n)
	}
	b.wait(time.Second)
	if n := b.ring.asked; n > 21 {
		t.Errorf("the kernel was asked %d times in a second of 50 ms ticks", n)
	}
}

// Responses that were appended and not flushed when the fence comes hold no connection until the deadline.
func TestFenceEndsAtOnceBehindWhatWasGathered(t *testing.T) {
	b := newTable(t, nil)
	b.offer(1, 100)
	b.shards[0].Gather(b.now)
	b.phase.Advance(run.PhaseFenced, b.now+int64(time.Hour))
	b.settle()
	if b.ring.bytes[1] != 0 || b.ring.shut[1] != 1 || b.Connections() != 0 {
		t.Errorf("%d bytes were sent, the socket was shut %d times, and %d permits are out", b.ring.bytes[1],
			b.ring.shut[1], b.Connections())
	}
	if n := b.sum(telemetry.DropFenced.Counter()); n != 1 {
		t.Errorf("%d responses dropped as fenced, want 1", n)
	}
}
