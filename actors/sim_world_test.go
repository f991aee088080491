package actors

import (
	"encoding/binary"
	"errors"
	"fmt"

	"sluice/durability"
	"sluice/encode"
	"sluice/transport"
)

// peer is one client of the simulated world, for one incarnation of its connection, with what it has to receive.
type peer struct {
	w       *world
	id      uint64
	fd      int32
	sim     *transport.SimPeer
	slow    bool
	owned   bool // the shard accepted the connection
	gone    bool // the reader let go of the socket
	cut     bool // the connection was told to end, or may have been ended lawfully: a prefix is enough
	slots   []tickSlot
	got     int    // slots received whole
	whole   int    // counted by the ledger: slots received whole
	rx      []byte // received and not yet parsed
	pending bool   // payload received, its BatchEnd not yet
	owed    uint64 // requests so far, as the reader counts them
	due     int    // slots that must arrive although the reader let go: up to the last request's end
	closed  transport.Reason
}

// tickSlot is what one slot must look like on the wire.
type tickSlot struct {
	seq    durability.Seq
	n      uint64
	kind   Kind
	last   bool
	bypass bool
	bad    fault
}

// String names the peer and where it stands.
func (p *peer) String() string {
	return fmt.Sprintf("connection %d (fd %d) got %d of %d answers, cut %t, gone %t", p.id, p.fd, p.got, len(p.slots), p.cut, p.gone)
}

// satisfied reports that the peer has everything it must get, or that its connection ended.
func (p *peer) satisfied() bool {
	return p.cut || p.closed != transport.ReasonNone || p.got == len(p.slots) || p.gone && p.got >= p.due
}

// notice hears from a shard that a connection ended or is slow.
func (w *world) notice(n Notice) {
	if p := w.byID[n.Conn]; p != nil && n.Kind == NoticeClosed {
		p.closed = n.Reason
		if n.Reason == transport.ReasonSlowHard && n.Blocked == 0 && !w.late && !p.sim.Refused() {
			w.fail("%v: closed for %d unsent bytes although its socket refused none", p, n.Unsent)
		}
		if n.Reason == transport.ReasonStalled && !p.slow && !w.stuck && p.sim.Waiting() == 0 {
			w.fail("%v: closed as stalled although its client has read everything", p)
		}
		if n.Reason.Slow() && !w.faults && w.now > w.calmed+60000 {
			w.fail("%v: closed as %v although every client reads and no fault is left (I12)", p, n.Reason)
		}
	}
}

// produce publishes a burst of slots.
func (w *world) produce() {
	if !w.faults {
		return
	}
	room := w.p.slots.Claim(1 + w.r.IntN(w.swarm.maxBurst))
	if len(room) == 0 {
		return
	}
	for i := range room {
		if w.oneIn(2) || w.oracle.seq == 0 {
			w.oracle.seq++ // a new event; otherwise one more output of the same
		}
		w.next++
		id := w.recipient()
		s := tickSlot{seq: w.oracle.seq, n: w.next, last: w.oneIn(2), bypass: w.pct(w.swarm.bypassPct)}
		if s.kind = KindReport; w.oneIn(8) {
			s.kind = pick(w.r, KindEngineError, KindBatchEnd)
		}
		if s.kind == KindReport && w.pct(w.swarm.badPct) {
			s.bad = pick(w.r, faultError, faultPanic, faultLarge)
			w.stats.EncodeFaults++
		}
		room[i] = Slot[tick, struct{}]{
			Conn: id, Seq: s.seq, Received: w.now, Matched: w.now, Kind: s.kind, Last: s.last, Bypass: s.bypass,
			Report: tick{n: s.n, size: 13 + w.r.IntN(60), bad: s.bad},
		}
		w.oracle.note(w.p.slots.Position()+uint64(i), s)
		if p := w.byID[id]; p != nil && p.owned {
			p.slots = append(p.slots, s)
			if s.last || s.kind == KindBatchEnd {
				p.owed++
			}
		}
	}
	w.p.slots.Commit(len(room))
	w.p.slots.Publish()
}

// recipient picks a connection to answer: one that is open, was, or never existed, but none that Connect has not yet
// returned for, since no request of it can have been read.
func (w *world) recipient() uint64 {
	for {
		id := uint64(1 + w.r.IntN(w.swarm.ids+1))
		if !w.connecting[id] {
			return id
		}
	}
}

// clients lets a client read, and a reader act on what it sees.
func (w *world) clients() {
	if len(w.open) == 0 {
		return
	}
	i := w.r.IntN(len(w.open))
	p := w.open[i]
	if p.gone && p.closed != transport.ReasonNone {
		w.open[i] = w.open[len(w.open)-1] // what is left in its socket is read at the end
		w.open = w.open[:len(w.open)-1]
		return
	}
	if !p.slow || !w.faults || w.oneIn(w.swarm.slowRead) {
		p.read(1 + w.r.IntN(2*w.swarm.window))
	}
	if p.owned && !p.gone && p.sim.HalfClosed() && w.oneIn(3) {
		w.letGo(p)
	}
}

// letGo is the reader seeing the end of the stream.
func (w *world) letGo(p *peer) {
	why := transport.ReasonPeerClosed
	if w.oneIn(4) && !w.halfOpen(p) {
		why = transport.ReasonPeerReset
		p.cut = true
	}
	if w.p.events.TrySend(event{kind: eventDisconnect, conn: p.id, hash: transport.Hash(p.id), owed: p.owed, reason: why}) {
		p.gone = true
		for i, s := range p.slots {
			if s.last || s.kind == KindBatchEnd {
				p.due = i + 1
			}
		}
	}
}

// halfOpen reports that the client closed only its sending side and still expects answers.
func (w *world) halfOpen(p *peer) bool { return !p.cut && p.closed == transport.ReasonNone }

// disturb connects, vanishes, kicks and swaps.
func (w *world) disturb() {
	if !w.faults {
		w.oracle.mend()
		return
	}
	s := &w.swarm
	switch {
	case w.oneIn(s.swap):
		w.oracle.swap()
	case w.oneIn(2):
		id := uint64(1 + w.r.IntN(s.ids))
		if p := w.byID[id]; !w.connecting[id] && (p == nil || p.gone || w.oneIn(20)) {
			w.connect(id)
		}
	case w.oneIn(s.churn/10 + 1):
		w.leave()
	}
}

// connect opens a socket and hands it to the pipeline.
func (w *world) connect(id uint64) {
	if w.p.permit.Add(1) > int64(w.p.cfg.MaxConnections) {
		w.p.permit.Add(-1)
		return
	}
	fd, sim := w.net.Open(w.swarm.window)
	p := &peer{w: w, id: id, fd: fd, sim: sim, slow: w.pct(w.swarm.slowPct)}
	ev := event{kind: eventConnect, conn: id, hash: transport.Hash(id), fd: fd, since: w.p.slots.Published()}
	ev.ack = func(err error) {
		w.connecting[id] = false
		if err == nil {
			p.owned = true
			w.byID[id] = p
			w.used[id] = true
			w.peers = append(w.peers, p)
			w.open = append(w.open, p)
			w.stats.Connects++
			return
		}
		w.stats.Refused++
		w.p.permit.Add(-1)
		if err := w.rings[0].CloseSocket(fd); err != nil && !errors.Is(err, transport.ErrRingInDoubt) {
			w.fail("closing a refused socket: %v", err)
		}
	}
	w.connecting[id] = true
	if w.used[id] {
		w.stats.Reuses++
	}
	if !w.p.events.TrySend(ev) {
		ev.ack(ErrEnded)
	}
}

// leave makes a client go away in one of several ways.
func (w *world) leave() {
	if len(w.open) == 0 {
		return
	}
	p := w.open[w.r.IntN(len(w.open))]
	if p.gone || p.sim.HalfClosed() {
		return
	}
	send := func(kind eventKind) {
		w.p.events.TrySend(event{kind: kind, conn: p.id, hash: transport.Hash(p.id), reason: transport.ReasonKicked})
	}
	switch w.r.IntN(5) {
	case 0:
		w.stats.HalfCloses++
		p.sim.HalfClose()
	case 1:
		w.stats.Vanishes++
		p.cut = true
		p.sim.Close()
	case 2:
		w.stats.Resets++
		p.cut = true
		p.sim.Reset()
	case 3:
		w.stats.Kicks++
		p.cut = true
		send(eventKick)
	case 4:
		w.stats.Busies++
		send(eventBusy)
	}
}

// read takes bytes off the simulated socket and checks them against what must come (I3, I4).
func (p *peer) read(limit int) {
	p.rx = p.sim.Take(p.rx, limit)
	rest := p.rx
	for len(rest) >= 5 && p.w.err == nil {
		size := 4 + int(binary.LittleEndian.Uint32(rest))
		if size > 256+4 {
			p.w.fail("%v: torn frame of %d bytes", p, size)
			return
		}
		if len(rest) < size {
			break
		}
		p.frame(rest[:size])
		rest = rest[size:]
	}
	p.rx = p.rx[:copy(p.rx, rest)]
}

// frame checks one whole frame.
func (p *peer) frame(b []byte) {
	if s := string(b); !p.pending && (s == encode.Heartbeat || s == encode.ServerBusy) {
		return
	}
	if p.got == len(p.slots) {
		p.w.fail("%v: frame % x, but no answer is due", p, b)
		return
	}
	s := &p.slots[p.got]
	if !p.w.oracle.mayPass(s) {
		p.w.fail("%v: answer %d of seq %d before it was durable (I1)", p, s.n, s.seq)
	}
	end := string(b) == encode.BatchEnd
	switch {
	case p.pending || s.kind == KindBatchEnd:
		if !end {
			p.w.fail("%v: want BatchEnd, got % x", p, b)
		}
		p.next()
		return
	case s.bad != faultNone:
		p.w.fail("%v: answer %d could not be encoded, got % x", p, s.n, b)
	case s.kind == KindEngineError && string(b) != encode.EngineError:
		p.w.fail("%v: want EngineError, got % x", p, b)
	case s.kind == KindReport && (b[4] != tickTag || binary.LittleEndian.Uint64(b[5:]) != s.n):
		p.w.fail("%v: want answer %d, got % x", p, s.n, b)
	}
	if s.kind == KindReport {
		for i := 13; i < len(b); i++ {
			if b[i] != byte(s.n+uint64(i)) {
				p.w.fail("%v: answer %d has a wrong byte at %d", p, s.n, i)
			}
		}
	}
	if p.pending = s.last; !s.last {
		p.next()
	}
}

// simEncoder writes a tick as tickEncoder does, and its planted faults without the cost of a megabyte.
type simEncoder struct{ large [300]byte }

func (e *simEncoder) AppendReport(dst []byte, r *tick) ([]byte, error) {
	switch r.bad {
	case faultLarge:
		return append(dst, e.large[:]...), nil
	case faultNone:
		size := max(r.size, 13)
		dst = binary.LittleEndian.AppendUint32(dst, uint32(size-4))
		dst = append(dst, tickTag)
		dst = binary.LittleEndian.AppendUint64(dst, r.n)
		for i := len(dst); i < size; i++ {
			dst = append(dst, byte(r.n+uint64(i)))
		}
		return dst, nil
	}
	return tickEncoder{}.AppendReport(dst, r)
}

func (e *simEncoder) AppendQuery(dst []byte, q *struct{}) ([]byte, error) {
	return tickEncoder{}.AppendQuery(dst, q)
}

func (p *peer) next() {
	p.got++
	p.whole++
	p.pending = false
}
