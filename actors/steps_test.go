package actors

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/actors/internal/shard"
	"sluice/durability"
	"sluice/telemetry"
	"sluice/transport"
)

// The step tests run single actors of a pipeline on the test's goroutine, under a clock that only
// the test moves and on a ring whose results the test provides.

// scriptRing completes every send with the result of answer, in the order of submission. Polls wait
// until ready.
type scriptRing struct {
	answer  func(fd int32, n int) int32 // bytes taken or -errno
	queue   []transport.Completion
	polls   []transport.Completion // pending; Res holds the descriptor
	done    []transport.Completion
	sends   map[int32]int // by descriptor
	bytes   map[int32]int // taken, by descriptor
	shut    map[int32]int
	closed  map[int32]int
	cancels int
	unread  int // bytes that every peer has not read yet
	asked   int // calls of Unacked
	parks   int
	broken  error // of every Submit
}

func newScriptRing() *scriptRing {
	return &scriptRing{
		answer: func(_ int32, n int) int32 { return int32(n) },
		sends:  map[int32]int{}, bytes: map[int32]int{}, shut: map[int32]int{},
		closed: map[int32]int{},
	}
}

func (r *scriptRing) Send(fd int32, b []byte, user uint64) bool {
	if len(r.queue) == 8 {
		return false
	}
	res := r.answer(fd, len(b))
	r.sends[fd]++
	r.bytes[fd] += int(max(res, 0))
	r.queue = append(r.queue, transport.Completion{User: user, Res: res})
	return true
}

func (r *scriptRing) Poll(fd int32, user uint64) bool {
	r.polls = append(r.polls, transport.Completion{User: user, Res: fd})
	return true
}

func (r *scriptRing) Cancel(user uint64) bool {
	r.cancels++
	r.fire(func(c transport.Completion) bool { return c.User == user }, -int32(unix.ECANCELED))
	return true
}

// fire completes the pending polls that match.
func (r *scriptRing) fire(match func(transport.Completion) bool, res int32) {
	left := r.polls[:0]
	for _, c := range r.polls {
		if match(c) {
			r.done = append(r.done, transport.Completion{User: c.User, Res: res})
		} else {
			left = append(left, c)
		}
	}
	r.polls = left
}

// ready lets the socket take bytes again.
func (r *scriptRing) ready(fd int32) {
	r.fire(func(c transport.Completion) bool { return c.Res == fd }, 4)
}

func (r *scriptRing) Submit() error {
	if r.broken != nil {
		return r.broken
	}
	r.done = append(r.done, r.queue...)
	r.queue = r.queue[:0]
	return nil
}

func (r *scriptRing) Reap(dst []transport.Completion) int {
	n := copy(dst, r.done)
	r.done = r.done[:copy(r.done, r.done[n:])]
	return n
}

func (r *scriptRing) Unread(fd int32) int        { return r.unread }
func (r *scriptRing) Unacked(fd int32) int       { r.asked++; return r.unread }
func (r *scriptRing) Queued() int                { return len(r.queue) }
func (r *scriptRing) Park()                      { r.parks++ }
func (r *scriptRing) Shutdown(fd int32) error    { r.shut[fd]++; return nil }
func (r *scriptRing) CloseSocket(fd int32) error { r.closed[fd]++; return nil }
func (r *scriptRing) Info() transport.Info {
	return transport.Info{Engine: "script",
		Entries: 8}
}
func (r *scriptRing) Counters() *transport.Counters { return new(transport.Counters) }
func (r *scriptRing) Close() error                  { return nil }

// table is a pipeline that a test steps by hand.
type table struct {
	*Pipeline[tick, struct{}]
	t       *testing.T
	ring    *scriptRing
	cursors *durability.Cursors
	now     int64
	seq     uint64
	closed  map[uint64]transport.Reason
	notices []ConnNotice
}

func newTable(t *testing.T, change func(*Config)) *table {
	t.Helper()
	b := &table{t: t, ring: newScriptRing(), cursors: durability.NewCursors(2),
		now: int64(time.Hour), closed: map[uint64]transport.Reason{}}
	cfg := Config{
		Policy: durability.Local(), Shards: 1, Placement: PlacementFused,
		Log:       slog.New(slog.NewTextHandler(io.Discard, nil)),
		Heartbeat: time.Minute, Egress: EgressConfig{DrainSpread: 1},
		OpenRing: func(int, transport.RingConfig) (transport.Ring, error) { return b.ring, nil },
		OnNotice: func(n ConnNotice) {
			b.notices = append(b.notices, n)
			if n.Kind == NoticeClosed {
				b.closed[n.Conn] = n.Reason
			}
		},
	}
	if change != nil {
		change(&cfg)
	}
	p, err := newPipeline(cfg, askEncoder{}, b.cursors)
	if err != nil {
		t.Fatal(err)
	}
	b.Pipeline = p
	return b
}

// step steps every actor once.
func (b *table) step() (work int) {
	for _, a := range b.runner.Groups()[0].Actors {
		work += a.Step(b.now)
	}
	return work
}

// settle steps until there is nothing to do at this moment.
func (b *table) settle() {
	b.t.Helper()
	for range 10000 {
		if b.step() == 0 {
			return
		}
	}
	b.t.Fatal("the actors find work forever")
}

// pass lets time pass in the given pieces.
func (b *table) pass(total, piece time.Duration) {
	b.t.Helper()
	for ; total > 0; total -= piece {
		b.now += int64(piece)
		b.settle()
	}
}

// join connects a descriptor of the same number as the id.
func (b *table) join(id uint64) {
	b.t.Helper()
	answered := false
	b.permit.Add(1)
	b.mail.events.TrySend(shard.Event{
		Kind: shard.EventConnect, Conn: id, Hash: transport.Hash(id), FD: int32(id),
		WriteOnly: true, Since: b.slots.Published(),
		Ack: func(err error) {
			if answered = true; err != nil {
				b.t.Fatal(err)
			}
		},
	})
	if b.settle(); !answered {
		b.t.Fatal("Connect was not answered")
	}
}

// say publishes one report.
func (b *table) say(id uint64, edit func(s *Slot[tick, struct{}])) {
	b.t.Helper()
	room := b.slots.Claim(1)
	if room == nil {
		b.t.Fatal("the slot ring is full")
	}
	b.seq++
	room[0] = Slot[tick, struct{}]{Conn: id, Seq: durability.Seq(b.seq), Received: b.now,
		Matched: b.now, Last: true, Report: tick{n: b.seq}}
	if edit != nil {
		edit(&room[0])
	}
	b.slots.Commit(1)
	b.slots.Publish()
}

// saySize publishes one report of the given size in bytes.
func (b *table) saySize(id uint64, size int) {
	b.say(id, func(s *Slot[tick, struct{}]) { s.Report.size = size })
}

// offer connects a client whose response, of size bytes, is in the inbox of its shard.
func (b *table) offer(id uint64, size int) {
	b.join(id)
	b.saySize(id, size)
	b.persist()
	b.gate.Step(b.now)
	b.encoder.Step(b.now)
}

func (b *table) persist() { b.cursors.SetPersisted(durability.Seq(b.seq)) }

// sum is one counter over all actors.
func (b *table) sum(c telemetry.Counter) (n uint64) {
	for _, a := range b.runner.Groups()[0].Actors {
		n += a.Recorder().B.C[c]
	}
	return n
}

// refuse makes one descriptor's sends fail with errno; 0 lets them succeed again.
func (b *table) refuse(fd int32, errno unix.Errno) {
	old := b.ring.answer
	b.ring.answer = func(to int32, n int) int32 {
		switch {
		case to != fd:
			return old(to, n)
		case errno == 0:
			return int32(n)
		}
		return -int32(errno)
	}
}
