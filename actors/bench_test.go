package actors

import (
	"encoding/binary"
	"testing"

	"sluice/actors/internal/run"
	"sluice/actors/internal/shard"
	"sluice/durability"
	"sluice/encode"
	"sluice/mailbox"
	"sluice/telemetry"
	"sluice/transport"
)

// nullRing takes every byte at once and costs next to nothing, so that the pipeline's own work is
// measured.
type nullRing struct {
	pending []transport.Completion
	entries int
}

func (r *nullRing) Send(fd int32, b []byte, user uint64) bool {
	if len(r.pending) == r.entries {
		return false
	}
	r.pending = append(r.pending, transport.Completion{User: user, Res: int32(len(b))})
	return true
}
func (r *nullRing) Poll(fd int32, user uint64) bool { return true }
func (r *nullRing) Cancel(user uint64) bool         { return true }
func (r *nullRing) Submit() error                   { return nil }
func (r *nullRing) Queued() int                     { return 0 }
func (r *nullRing) Park()                           {}
func (r *nullRing) Unread(fd int32) int             { return 0 }
func (r *nullRing) Unacked(fd int32) int            { return 0 }
func (r *nullRing) Shutdown(fd int32) error         { return nil }
func (r *nullRing) CloseSocket(fd int32) error      { return nil }
func (r *nullRing) Info() transport.Info {
	return transport.Info{Engine: "null",
		Entries: r.entries}
}
func (r *nullRing) Counters() *transport.Counters { return new(transport.Counters) }
func (r *nullRing) Close() error                  { return nil }
func (r *nullRing) Reap(dst []transport.Completion) int {
	n := copy(dst, r.pending)
	r.pending = r.pending[:copy(r.pending, r.pending[n:])]
	return n
}

// filler encodes ticks as applications do: a few fields, then bytes copied from elsewhere.
type filler struct{ tickEncoder }

var filling [512]byte

func (filler) AppendReport(dst []byte, r *tick) ([]byte, error) {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(r.size-4))
	dst = append(dst, tickTag)
	dst = binary.LittleEndian.AppendUint64(dst, r.n)
	return append(dst, filling[:r.size-13]...), nil
}

// bench is a pipeline that the benchmark steps on its own goroutine.
type bench struct {
	*Pipeline[tick, struct{}]
	cursors *durability.Cursors
	actors  []run.Member
	seq     uint64
}

func newBench(b testing.TB, conns, shards int) *bench {
	cursors := durability.NewCursors(0)
	p, err := newPipeline(Config{
		Policy: durability.Local(), Shards: shards, Placement: PlacementFused,
		OpenRing: func(int, transport.RingConfig) (transport.Ring, error) {
			return &nullRing{entries: 4096, pending: make([]transport.Completion, 0, 4096)}, nil
		},
	}, filler{}, cursors)
	if err != nil {
		b.Fatal(err)
	}
	s := &bench{Pipeline: p, cursors: cursors, actors: run.Members(p.runner.Groups()[0].Actors)}
	for id := 1; id <= conns; id++ {
		s.connect(b, uint64(id), nil)
	}
	return s
}

// connect adds a connection, with a Sealer unless that is nil.
func (s *bench) connect(b testing.TB, id uint64, sealer transport.Sealer) {
	acked := false
	s.permit.Add(1)
	s.mail.events.TrySend(shard.Event{Kind: shard.EventConnect, Conn: id, Hash: transport.Hash(id), FD: 1,
		WriteOnly: true, Sealer: sealer, Ack: func(err error) { acked = err == nil }})
	s.step()
	if !acked {
		b.Fatal("connect refused")
	}
}

func (s *bench) step() (work int) {
	_, work, _ = s.runner.Round(s.actors, s.Now())
	return work
}

// fill publishes n reports of size bytes, spread over the connections.
func (s *bench) fill(n, conns, size int) {
	now := s.Now()
	for n > 0 {
		room := s.Slots().Claim(n)
		if room == nil {
			panic("slot ring is full")
		}
		for i := range room {
			s.seq++
			r := &room[i]
			r.Conn, r.Seq, r.Kind, r.Last, r.Bypass = 1+s.seq%uint64(conns), durability.Seq(s.seq), KindReport, false, false
			r.Request = s.seq
			r.Received, r.Matched = now, now
			r.Report = tick{n: s.seq, size: size}
		}
		s.Slots().Commit(len(room))
		n -= len(room)
	}
	s.Slots().Publish()
}

func (s *bench) run(n, conns, size int) {
	s.fill(n, conns, size)
	s.cursors.SetPersisted(durability.Seq(s.seq))
	for s.step() > 0 {
	}
}

// BenchmarkPipeline is a slot's path through the pipeline to a ring that costs nothing, on one
// core.
func BenchmarkPipeline(b *testing.B) {
	for _, c := range []struct {
		name               string
		batch, conns, size int
	}{
		{"batch=16/conns=64", 16, 64, 64},
		{"batch=256/conns=64", 256, 64, 64},
		{"batch=1024/conns=256", 1024, 256, 64},
		{"batch=4096/conns=256", 4096, 256, 64},
		{"batch=4096/conns=1", 4096, 1, 64},
		{"batch=4096/conns=64", 4096, 64, 64},
		{"batch=4096/conns=1000", 4096, 1000, 64},
		{"batch=64/conns=64", 64, 64, 64},
		{"batch=32/conns=8", 32, 8, 64},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := newBench(b, c.conns, 1)
			s.run(c.batch, c.conns, c.size)
			b.ReportAllocs()
			for b.Loop() {
				s.run(c.batch, c.conns, c.size)
			}
			perSlot := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / float64(c.batch)
			b.ReportMetric(perSlot, "ns/slot")
			b.ReportMetric(1e3/perSlot, "Mslots/s")
			if got := s.total(telemetry.EgressFramesSent); got != s.seq {
				b.Fatalf("%d of %d slots were sent", got, s.seq)
			}
		})
	}
}

// total collects and sums one counter over all actors.
func (s *bench) total(c telemetry.Counter) uint64 {
	for _, a := range s.actors {
		a.Park()
	}
	s.Collector().Collect(0)
	for _, a := range s.actors {
		a.Unpark()
	}
	return s.Collector().Sum().C[c]
}

// BenchmarkGate is the gate alone: slots that are durable pass.
func BenchmarkGate(b *testing.B) {
	s := newBench(b, 1, 1)
	gate := s.gate
	drop := s.encoder.slots
	b.ReportAllocs()
	for b.Loop() {
		s.fill(1024, 1, 64)
		s.cursors.SetPersisted(durability.Seq(s.seq))
		gate.Step(s.Now())
		drop.Release(len(drop.Batch(1024)))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/slot")
}

// BenchmarkEncode is the encoder alone: slots become records in the frame ring.
func BenchmarkEncode(b *testing.B) {
	s := newBench(b, 1, 1)
	inbox := s.shards[0].Frames()
	b.ReportAllocs()
	for b.Loop() {
		s.fill(1024, 1, 64)
		s.cursors.SetPersisted(durability.Seq(s.seq))
		s.gate.Step(s.Now())
		for s.encoder.Step(s.Now()) > 0 {
		}
		for {
			if _, ok := inbox.Next(); !ok {
				break
			}
		}
		inbox.Release()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/slot")
}

// BenchmarkEgress is the shard alone: records are appended and sent to a null ring.
func BenchmarkEgress(b *testing.B) {
	const conns, batch = 64, 1024
	s := newBench(b, conns, 1)
	e := s.shards[0]
	w, r := mailbox.NewBytes(4 << 20)
	e.SetFrames(r)
	frame := make([]byte, encode.BatchEndBytes)
	b.ReportAllocs()
	for b.Loop() {
		for i := range batch {
			id := uint64(1 + i%conns)
			room := w.Claim(shard.RecordBytes + len(frame))
			*shard.RecordIn(room) = shard.Record{Conn: id, Hash: transport.Hash(id),
				Flags: shard.RecordLast}
			copy(room[shard.RecordBytes:], frame)
			w.Commit(shard.RecordBytes + len(frame))
		}
		w.Publish()
		for e.Step(s.Now()) > 0 {
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/slot")
}
