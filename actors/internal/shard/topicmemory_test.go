package shard

import (
	"encoding/binary"
	"runtime"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/actors/internal/run"
	"sluice/durability"
	"sluice/encode"
	"sluice/mailbox"
	"sluice/telemetry"
	"sluice/transport"
)

// sink is a ring whose sockets take everything, or nothing.
type sink struct {
	*kernel
	full bool
}

func (s *sink) Send(_ int32, b []byte, user uint64) bool {
	if len(s.done) == 1<<10 {
		return false
	}
	n := int32(len(b))
	if s.full {
		n = -int32(unix.EAGAIN)
	}
	s.done = append(s.done, transport.Completion{User: user, Res: n})
	return true
}
func (s *sink) Poll(int32, uint64) bool { return true }
func (s *sink) Submit() error           { return nil }
func (s *sink) Queued() int             { return 0 }
func (s *sink) Reap(dst []transport.Completion) int {
	n := copy(dst, s.done)
	s.done = s.done[:copy(s.done, s.done[n:])]
	return n
}
func (s *sink) Info() transport.Info { return transport.Info{Engine: "sink", Entries: 1 << 10} }

const tapeMost = 1 << 18

// crowd is a shard with many subscribers.
type crowd struct {
	t      *testing.T
	sink   *sink
	shard  *Shard
	frames *mailbox.BytesWriter
	events *mailbox.Writer[Event]
	now    int64
}

func newCrowd(t *testing.T, conns int) *crowd {
	c := &crowd{t: t, sink: &sink{kernel: newKernel()}}
	var inbox *mailbox.BytesReader
	var queue *mailbox.Reader[Event]
	c.frames, inbox = mailbox.NewBytes(1 << 20)
	c.events, queue = mailbox.NewSPSC[Event](8)
	notices, _ := mailbox.NewSPSC[Notice](8)
	slab, err := transport.NewSlab(1<<20, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	var limits atomic.Pointer[[]transport.Limits]
	limits.Store(&[]transport.Limits{transport.DefaultLimits()})
	var permit atomic.Int64
	permit.Store(int64(conns))
	c.shard = New(Parts{
		Config: Config{Framing: &encode.Framing{}, FlushBytes: 1 << 16, FlushSlots: 256, DrainMax: 1 << 16, Tick: 1e15,
			Heartbeat: 1e15, Pause: 1e15, Topics: TopicConfig{TapeBytes: tapeMost, HistoryBytes: 1 << 12, Linger: 1e9}},
		Frames: inbox, Events: queue, Notices: notices, Ring: c.sink, Slab: slab, Limits: &limits,
		Sockets: new(Sockets), Permit: &permit, Phase: new(run.Phase), Farewell: new(atomic.Pointer[encode.Control]),
		Recorder: telemetry.NewCollector(telemetry.NewClock()).Register("egress", 0),
		Box:      telemetry.NewTraceBox(8),
		Sampler:  telemetry.NewSampler(telemetry.Rules{}), Alarm: new(durability.Degradation),
	})
	for conn := range uint64(conns) {
		acked := false
		c.events.Claim(1)[0] = Event{Kind: EventConnect, Conn: conn + 1, Hash: transport.Hash(conn + 1),
			FD: 1, WriteOnly: true, Ack: func(err error) { acked = err == nil }}
		c.events.Commit(1)
		c.events.Publish()
		if c.step(); !acked {
			t.Fatalf("connection %d is refused", conn+1)
		}
	}
	return c
}

func (c *crowd) step() {
	c.now++
	for c.shard.Step(c.now) > 0 {
	}
}

// record puts a record with bytes behind it into the inbox.
func (c *crowd) record(r Record, rest []byte) {
	room := c.frames.Claim(RecordBytes + len(rest))
	if room == nil {
		c.frames.Publish()
		c.step()
		room = c.frames.Claim(RecordBytes + len(rest))
	}
	*RecordIn(room) = r
	copy(room[RecordBytes:], rest)
	c.frames.Commit(len(room))
	c.frames.Publish()
}

func (c *crowd) subscribe(conn, topic uint64) {
	var rest [SubscriptionBytes]byte
	PutSubscription(rest[:], topic, 0, ModeRecover)
	c.record(Record{Conn: conn, Hash: transport.Hash(conn), Flags: (KindSnapshotBegin + 1) << RecordKind}, rest[:])
	c.step()
}

// publish publishes frame seq of a topic.
func (c *crowd) publish(topic, seq uint64, size int) {
	rest := binary.LittleEndian.AppendUint64(make([]byte, size), seq)
	c.record(Record{Conn: topic, Flags: KindTopic << RecordKind}, rest)
}

// liveBytes is the number of bytes of live objects.
func liveBytes() int64 {
	var m runtime.MemStats
	for range 2 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestMemoryOfASubscription(t *testing.T) {
	const conns = 20_000
	c := newCrowd(t, conns)
	c.subscribe(1, 1) // topic and feed
	before := liveBytes()
	for conn := uint64(2); conn <= conns; conn++ {
		c.subscribe(conn, 1)
	}
	each := float64(liveBytes()-before) / (conns - 1)
	t.Logf("%.1f bytes a subscription", each)
	if each > 64 {
		t.Errorf("a subscription takes %.1f bytes, at most 64", each)
	}
	runtime.KeepAlive(c)
}

// A connection's subscriptions beyond the first take a place in a feed that others with the same ones share.
func TestMemoryOfIdleTopics(t *testing.T) {
	const topics = 20_000
	c := newCrowd(t, 1)
	before := liveBytes()
	for id := range uint64(topics) {
		c.shard.topic(id+1, 0)
	}
	each := float64(liveBytes()-before) / topics
	t.Logf("%.1f bytes a topic", each)
	if each > 256 {
		t.Errorf("an idle topic takes %.1f bytes, at most 256", each)
	}
	runtime.KeepAlive(c)
}

// What is kept for subscribers that are behind is one tape, whatever their number is.
func TestMemoryDoesNotGrowWithTheNumberBehind(t *testing.T) {
	used := func(conns int) int64 {
		c := newCrowd(t, conns)
		for conn := range uint64(conns) {
			c.subscribe(conn+1, 1)
		}
		c.sink.full = true
		for seq := uint64(1); seq <= 40_000; seq++ {
			c.publish(1, seq, 64)
			if seq%64 == 0 {
				c.step()
			}
		}
		if tape := c.shard.topics.all[0].tape.Size(); tape != tapeMost {
			t.Errorf("%d behind: the tape has %d bytes, its limit is %d", conns, tape, tapeMost)
		}
		return c.shard.slab.InUse()
	}
	if few, many := used(10), used(1000); few != many {
		t.Errorf("10 that are behind use %d bytes, 1,000 use %d", few, many)
	}
}

// A tape stays small while all of its members take what they are sent.
func TestTapeStaysSmallWhileMembersRead(t *testing.T) {
	c := newCrowd(t, 3)
	for conn := range uint64(3) {
		c.subscribe(conn+1, 1)
	}
	for seq := uint64(1); seq <= 20_000; seq++ {
		c.publish(1, seq, 1000)
		if seq%5000 == 0 {
			c.step()
		}
	}
	c.step()
	if tape := c.shard.topics.all[0].tape.Size(); tape > 2*sendMost {
		t.Errorf("the tape has %d bytes", tape)
	}
	if n := c.shard.rec.B.C[telemetry.TopicMixed]; n != 0 {
		t.Errorf("%d frames were copied, because sends ended within them", n)
	}
}

// A member that reads loses nothing when the tape is full within one step, also behind bytes of its own.
func TestMembersThatReadLoseNothingToAFullTape(t *testing.T) {
	c := newCrowd(t, 2)
	c.subscribe(1, 1)
	c.subscribe(2, 1)
	for seq := uint64(1); seq <= 900; seq++ {
		c.publish(1, seq, 1000)
		if seq%50 == 1 {
			c.record(Record{Conn: 1, Hash: transport.Hash(1)}, make([]byte, 100))
		}
	}
	c.step()
	if n := c.shard.rec.B.C; n[telemetry.TopicGaps] != 0 || n[telemetry.TopicPublished] != 1800 ||
		n[telemetry.TopicDelivered] != 1800 {
		t.Errorf("%d gaps, %d frames published, %d delivered", n[telemetry.TopicGaps], n[telemetry.TopicPublished],
			n[telemetry.TopicDelivered])
	}
}
