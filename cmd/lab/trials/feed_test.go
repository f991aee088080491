package trials

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"sluice/actors"
	"sluice/durability"
	"sluice/transport/wire"
)

// The application under trial sends numbered notes: as responses or, to followers, without a
// request.
const (
	tagAsk    = wire.RequestFirst     // token, first, count, size: notes first, first+1, ...; then BatchEnd
	tagFollow = wire.RequestFirst + 1 // token, size: BatchEnd; from then on the next note whenever the feed ticks
	tagNote   = wire.ResponseFirst
)

const (
	noteLeast = wire.PrefixSize + wire.ResponseHeaderSize + 16 // bytes of a note without filler
	maxFrame  = 4096
)

// note is one numbered frame. Its filler is computed from token and number, so a byte that is lost,
// doubled or meant for another client is detected.
type note struct {
	token, n uint64
	size     uint32 // of the whole frame in bytes
}

// filler writes the bytes that follow token and number.
func filler(dst []byte, token, n uint64) {
	x := token*0x9E3779B97F4A7C15 ^ n*0xBF58476D1CE4E5B9 | 1
	for len(dst) > 0 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		var eight [8]byte
		binary.LittleEndian.PutUint64(eight[:], x)
		dst = dst[copy(dst, eight[:]):]
	}
}

// scribe encodes notes. It implements encode.Encoder.
type scribe struct{}

func (scribe) AppendReport(dst []byte, r *note) ([]byte, error) {
	if r.size < noteLeast || r.size > maxFrame {
		return dst, fmt.Errorf("a note of %d bytes", r.size)
	}
	dst = binary.LittleEndian.AppendUint32(dst, r.size-wire.PrefixSize)
	dst = append(dst, tagNote)
	dst = binary.LittleEndian.AppendUint64(dst, r.token)
	dst = binary.LittleEndian.AppendUint64(dst, r.n)
	at := len(dst)
	dst = slices.Grow(dst, int(r.size)-noteLeast)[:at+int(r.size)-noteLeast]
	filler(dst[at:], r.token, r.n)
	return dst, nil
}

func (scribe) AppendQuery(dst []byte, _ *struct{}) ([]byte, error) { return dst, nil }

// verify checks every byte of a note.
func verify(tag uint8, body []byte, token, n uint64, size int) error {
	const head = 16
	if tag != tagNote || len(body) < head {
		return fmt.Errorf("tag %#x with %d bytes, want note %d", tag, len(body), n)
	}
	if got := binary.LittleEndian.Uint64(body); got != token {
		return fmt.Errorf("a note of token %#x for token %#x: bytes of another client", got, token)
	}
	if got := binary.LittleEndian.Uint64(body[8:]); got != n {
		return fmt.Errorf("note %d, want %d", got, n)
	}
	if got := len(body) + wire.PrefixSize + wire.ResponseHeaderSize; got != size {
		return fmt.Errorf("note %d has %d bytes, want %d", n, got, size)
	}
	want := make([]byte, 0, maxFrame)[:len(body)-head]
	filler(want, token, n)
	if string(want) != string(body[head:]) {
		return fmt.Errorf("note %d has wrong bytes", n)
	}
	return nil
}

// ask is a message from a reader to the feed: a request, or the end of a connection.
type ask struct {
	tag          uint8 // 0: the connection ended
	conn         uint64
	token, first uint64
	count, size  uint32
}

// askBytes is the size of a request's body.
const askBytes = 24

func (a *ask) body() []byte {
	b := binary.LittleEndian.AppendUint64(nil, a.token)
	b = binary.LittleEndian.AppendUint64(b, a.first)
	b = binary.LittleEndian.AppendUint32(b, a.count)
	return binary.LittleEndian.AppendUint32(b, a.size)
}

func (a *ask) parse(r wire.Request) error {
	if len(r.Body) != askBytes {
		return fmt.Errorf("a request of %d bytes", len(r.Body))
	}
	a.tag = r.Tag
	a.token, a.first = binary.LittleEndian.Uint64(r.Body), binary.LittleEndian.Uint64(r.Body[8:])
	a.count, a.size = binary.LittleEndian.Uint32(r.Body[16:]), binary.LittleEndian.Uint32(r.Body[20:])
	return nil
}

// follower is a connection that gets notes without a request.
type follower struct {
	conn, token, next uint64
	size              uint32
}

// feed is the application: one goroutine that owns the producer's end of the slot ring.
type feed struct {
	pipeline *actors.Pipeline[note, struct{}]
	cursors  *durability.Cursors
	ids      chan uint64
	asks     chan ask         // written by readers; closed when no more come
	calls    chan func(*feed) // run between two asks
	hurry    chan struct{}    // closed when nothing more is to be published
	done     chan struct{}

	seq       uint64 // last wire seq
	slots     uint64 // number of published slots; read after done
	durable   uint64 // last seq that is durable
	shut      bool   // whether new slots stay without durability
	ended     int    // connections whose end a reader reported
	followers []*follower
	turn      int           // index of the next follower
	gap       time.Duration // longest time between two ticks of a stream
}

func (f *feed) run() {
	defer close(f.done)
	defer f.pipeline.Slots().Close()
	for {
		select {
		case a, ok := <-f.asks:
			if !ok {
				return
			}
			f.answer(&a)
			for range len(f.asks) { // all pending messages share one publish
				a, ok := <-f.asks
				if !ok {
					break
				}
				f.answer(&a)
			}
			f.publish()
		case call := <-f.calls:
			call(f)
			f.publish()
		}
	}
}

func (f *feed) answer(a *ask) {
	switch a.tag {
	case tagAsk:
		for i := range uint64(a.count) {
			if !f.put(a.conn, note{a.token, a.first + i, a.size}, i+1 == uint64(a.count)) {
				return
			}
		}
	case tagFollow:
		f.followers = append(f.followers, &follower{conn: a.conn, token: a.token, next: 1, size: a.size})
		f.slot(func(s *actors.Slot[note, struct{}]) { s.Conn, s.Kind, s.Last = a.conn, actors.KindBatchEnd, true })
	case 0:
		f.ended++
		f.forget(a.conn)
		f.publish()
		f.giveBack(a.conn) // everything for its former owner is published: the id may be reused
	default:
		f.slot(func(s *actors.Slot[note, struct{}]) { s.Conn, s.Kind, s.Last = a.conn, actors.KindEngineError, true })
	}
}

// forget stops sending to a follower.
func (f *feed) forget(conn uint64) {
	for i, w := range f.followers {
		if w.conn == conn {
			f.followers = append(f.followers[:i], f.followers[i+1:]...)
			return
		}
	}
}

// giveBack returns a connection id to the pool.
func (f *feed) giveBack(id uint64) {
	select {
	case f.ids <- id:
	default: // one from beyond the pool
	}
}

// tick sends the next note to n followers in turn.
func (f *feed) tick(n int) {
	for range n {
		if len(f.followers) == 0 {
			return
		}
		f.turn = (f.turn + 1) % len(f.followers)
		w := f.followers[f.turn]
		if !f.put(w.conn, note{w.token, w.next, w.size}, false) {
			return
		}
		w.next++
	}
}

// to sends n notes to the follower of a token at once, and returns its connection.
func (f *feed) to(token uint64, n int) uint64 {
	for _, w := range f.followers {
		if w.token == token {
			for range n {
				f.put(w.conn, note{w.token, w.next, w.size}, false)
				w.next++
			}
			return w.conn
		}
	}
	return 0
}

func (f *feed) put(conn uint64, n note, last bool) bool {
	return f.slot(func(s *actors.Slot[note, struct{}]) { s.Conn, s.Report, s.Last = conn, n, last })
}

// slot fills the next slot. It waits while the ring is full; false means that hurry was closed.
func (f *feed) slot(fill func(*actors.Slot[note, struct{}])) bool {
	for {
		select {
		case <-f.hurry:
			return false
		default:
		}
		if room := f.pipeline.Slots().Claim(1); room != nil {
			f.seq++
			f.slots++
			now := f.pipeline.Now()
			room[0] = actors.Slot[note, struct{}]{Seq: durability.Seq(f.seq), Received: now, Matched: now}
			fill(&room[0])
			f.pipeline.Slots().Commit(1)
			return true
		}
		f.publish()
		runtime.Gosched()
	}
}

// publish publishes the filled slots and makes them durable, unless the gate is held shut.
func (f *feed) publish() {
	f.pipeline.Slots().Publish()
	if !f.shut {
		f.durable = f.seq
		f.cursors.SetPersisted(durability.Seq(f.seq))
	}
}

// stream is an open loop in a goroutine: it publishes notes at the given rate per second, to
// followers in turn, until stop is closed or total is reached; then it ends every follower's stream
// with a BatchEnd. The rate is kept on average; a feed that was late catches up. Notes that do not
// fit behind a shut gate are left out: a feed that waits for room could not open the gate. The
// stream never runs further ahead than r.most allows.
func (r *rig) stream(rate, total int, stop <-chan struct{}) (done <-chan struct{}) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		every := time.NewTicker(time.Millisecond)
		defer every.Stop()
		began := time.Now()
		last := began
		for sent, stopped := 0, false; sent < total && !stopped; {
			select {
			case <-stop:
				stopped = true
				continue
			case <-every.C:
			}
			due := min(total, int(time.Since(began).Seconds()*float64(rate)), r.most()) - sent
			if due <= 0 {
				continue
			}
			sent += due
			r.call(func(f *feed) {
				if f.shut {
					due = min(due, int(mostHeld-min(mostHeld, f.seq-f.durable)))
				}
				f.tick(due)
				f.gap = max(f.gap, time.Since(last))
				last = time.Now()
			})
		}
		r.call(func(f *feed) {
			for _, w := range f.followers {
				f.slot(func(s *actors.Slot[note, struct{}]) { s.Conn, s.Kind, s.Last = w.conn, actors.KindBatchEnd, true })
			}
		})
	}()
	return ended
}

// endless is a total that no stream reaches.
const endless = 1 << 40

// call runs fn on the feed's goroutine and waits for it.
func (r *rig) call(fn func(*feed)) {
	var ran sync.WaitGroup
	ran.Add(1)
	select {
	case r.feed.calls <- func(f *feed) { defer ran.Done(); fn(f) }:
		ran.Wait()
	case <-r.feed.done:
	}
}
