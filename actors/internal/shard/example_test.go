package shard_test

import (
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"sluice/actors/internal/run"
	"sluice/actors/internal/shard"
	"sluice/durability"
	"sluice/encode"
	"sluice/mailbox"
	"sluice/telemetry"
	"sluice/transport"
)

// A frame passes the frame ring, a connection's buffer and the ring of the kernel on its way to the
// client.
func Example() {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		panic(err)
	}
	client := os.NewFile(uintptr(fds[1]), "client")
	defer client.Close()

	frames, inbox := mailbox.NewBytes(1 << 12)
	events, queue := mailbox.NewSPSC[shard.Event](8)
	notices, _ := mailbox.NewSPSC[shard.Notice](8)
	s := shard.New(parts(inbox, queue, notices))
	acked := func(err error) { fmt.Println("connected:", err) }
	events.Claim(1)[0] = shard.Event{Kind: shard.EventConnect, Conn: 7, Hash: transport.Hash(7),
		FD: int32(fds[0]), WriteOnly: true, Ack: acked}
	events.Commit(1)
	events.Publish()
	s.Step(1)

	const frame = "a frame"
	room := frames.Claim(shard.RecordBytes + len(frame))
	*shard.RecordIn(room) = shard.Record{Conn: 7, Hash: transport.Hash(7), Flags: shard.RecordLast}
	copy(room[shard.RecordBytes:], frame)
	frames.Commit(len(room))
	frames.Publish()
	s.Step(2)

	b := make([]byte, len(frame))
	n, err := client.Read(b)
	fmt.Printf("received: %s %v\n", b[:n], err)
	fmt.Println("closed:", s.Close())
	// Output:
	// connected: <nil>
	// received: a frame <nil>
	// closed: <nil>
}

// parts makes the parts of a single shard, which a pipeline makes in a program.
func parts(inbox *mailbox.BytesReader, queue *mailbox.Reader[shard.Event],
	notices *mailbox.Writer[shard.Notice]) shard.Parts {
	ring, _, err := transport.Open(transport.ModePoll,
		transport.RingConfig{Entries: 8, Wake: func() {}})
	if err != nil {
		panic(err)
	}
	slab, err := transport.NewSlab(1<<20, 4<<20)
	if err != nil {
		panic(err)
	}
	var limits atomic.Pointer[[]transport.Limits]
	limits.Store(&[]transport.Limits{transport.DefaultLimits()})
	var permit atomic.Int64
	permit.Store(1)
	return shard.Parts{
		Config: shard.Config{Framing: &encode.Framing{}, FlushBytes: 1 << 16, FlushSlots: 256, DrainMax: 1024, Tick: 1e9,
			Heartbeat: 1e10, Pause: 1e9},
		Frames: inbox, Events: queue, Notices: notices, Ring: ring, Slab: slab, Limits: &limits,
		Sockets: new(shard.Sockets),
		Permit:  &permit, Phase: new(run.Phase), Farewell: new(atomic.Pointer[encode.Control]),
		Recorder: telemetry.NewCollector(telemetry.NewClock()).Register("egress", 0),
		Box:      telemetry.NewTraceBox(8),
		Sampler:  telemetry.NewSampler(telemetry.Rules{}), Alarm: new(durability.Degradation),
	}
}
