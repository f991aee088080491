package actors

import (
	"encoding/binary"
	"fmt"
	"strings"

	"sluice/durability"
	"sluice/encode"
	"sluice/transport"
)

// peer is one client of the simulated world, for one incarnation of its connection, with what it
// has to receive.
type peer struct {
	w       *world
	id      uint64
	fd      int32
	sim     *transport.SimPeer
	slow    bool
	alone   bool  // the socket has no reader at the server's side
	opened  int64 // when the shard accepted it
	before  *peer // the incarnation before
	owned   bool  // the shard accepted the connection
	gone    bool  // the reader released the socket
	cut     bool  // the connection was ended, or may have been: a prefix is enough
	slots   []tickSlot
	got     int    // slots received whole
	whole   int    // counted by the ledger: slots received whole
	rx      []byte // received and not yet parsed
	pending bool   // payload received, its BatchEnd not yet
	owed    uint64 // requests so far, as the reader counts them
	due     int    // slots that must arrive after the reader's release: up to the last request's end
	closed  transport.Reason
	blocked bool // when it was closed, its socket refused bytes
	class   uint8

	answered, answers uint64 // responses that were no slots: in its send buffer, and received
	busy              uint64 // the last request for which ServerBusy came
	kicked            bool
	told              encode.CloseReason // of the Close frame, which must be the last; 0 before
	slowTold          bool               // NoticeSlow came and NoticeRecovered did not
	heard             int64              // when bytes last came, or its connection opened
	quiet             int64              // for how long (ns) none had come when the frame under way began to arrive
	still             still

	sealer   *simSealer // nil on a plain connection
	joinable bool       // the producer has read what was reported about earlier owners of the id
	stream   simStream
}

// tickSlot is what one slot must look like on the wire.
type tickSlot struct {
	seq      durability.Seq
	conn     uint64
	n        uint64
	position uint64 // in the slot ring
	ticket   uint64 // that it waits for; 0 for none
	kind     Kind
	last     bool
	bypass   bool
	bad      fault
	sub      simSubscription // of the kinds that have to do with topics
}

// String names the peer and where it stands.
func (p *peer) String() string {
	return fmt.Sprintf("connection %d (fd %d) got %d of %d answers, cut %t, gone %t", p.id, p.fd,
		p.got, len(p.slots), p.cut, p.gone)
}

// satisfied reports that the peer has everything it must get, or that its connection ended.
func (p *peer) satisfied() bool {
	if p.closed != transport.ReasonNone || p.cut {
		return p.closed != transport.ReasonNone || !p.kicked
	}
	return p.answers == p.answered && p.got == len(p.slots) && p.caughtUp() ||
		p.gone && p.got >= p.due
}

// notice records a shard's notice that a connection ended or is slow.
func (w *world) notice(n ConnNotice) {
	p := w.byID[n.Conn]
	for p != nil && p.opened != n.At-int64(n.Age) { // it may be of an earlier connection of that id
		p = p.before
	}
	if p == nil {
		return
	}
	if n.Kind != NoticeClosed {
		if p.slowTold == (n.Kind == NoticeSlow) {
			w.fail("%v: notice %v came twice", p, n.Kind)
		}
		p.slowTold = n.Kind == NoticeSlow
		return
	}
	p.closed, p.blocked = n.Reason, n.Blocked != 0
	switch {
	case n.Reason == transport.ReasonSlowHard && n.Blocked == 0 && !w.late && !p.sim.Refused():
		w.fail("%v: closed for %d unsent bytes although its socket refused none (I6)", p, n.Unsent)
	// A shard that hardly ran in all that time cannot know better: what starves here for half a
	// limit would be seconds outside.
	case n.Reason == transport.ReasonStalled && !p.slow && !w.stuck && w.swarm.starve == 0 &&
		p.sim.Waiting() == 0:
		w.fail("%v: closed as stalled although its client has read everything (I6)", p)
	case n.Reason == transport.ReasonShardBudget && !w.tight:
		w.fail("%v: closed for want of memory, of which there is enough (I5)", p)
	case n.Reason == transport.ReasonSlowFeed && !p.mayEndSlow():
		w.fail("%v: closed as a slow subscriber", p)
	case n.Reason.Slow() && !w.faults && w.now > w.calmed+60000:
		w.fail("%v: closed as %v although every client reads and no fault is left (I12)", p,
			n.Reason)
	}
}

// read takes bytes off the simulated socket and checks them against what must come (I3, I4).
func (p *peer) read(limit int) {
	had, taken := len(p.rx)+p.unopened(), p.sim.Taken()
	p.take(limit)
	rest := p.rx
	if had == 0 { // else the first frame began to arrive before
		p.quiet = p.w.now - p.heard
	}
	if p.sim.Taken() > taken {
		p.heard = p.w.now
	}
	for len(rest) >= 5 && p.w.err == nil {
		size := 4 + int(binary.LittleEndian.Uint32(rest))
		if size > 256+4+encode.TopicBytes {
			p.w.fail("%v: torn frame of %d bytes", p, size)
			return
		}
		if len(rest) < size {
			break
		}
		if rest[4] == encode.TagHeartbeat {
			p.heartbeat()
		}
		p.frame(rest[:size])
		rest = rest[size:]
	}
	p.rx = p.rx[:copy(p.rx, rest)]
}

// simAway is where the clients of some pipelines go at their end.
const simAway = "node-2:7000"

// simAnswer responses a request that was no slot.
const simAnswer = "\x04\x00\x00\x00\xeeyes"

// simQuery responses a query.
const simQuery = "\x04\x00\x00\x00\xeftop"

// control takes a frame that is no slot's; false if it is one.
func (p *peer) control(b string) bool {
	switch {
	case b == "\x01\x00\x00\x00\x01": // a heartbeat
	case len(b) == 13 && b[4] == encode.TagServerBusy:
		n := binary.LittleEndian.Uint64([]byte(b[5:]))
		if shed := p.w.shed[p.id]; n <= p.busy || n > shed {
			p.w.fail("%v: ServerBusy for request %d after that for %d; %d were shed", p, n, p.busy,
				shed)
		}
		p.busy = n
	case b[4] == encode.TagClose:
		p.told = encode.CloseReason(b[5])
		p.w.stats.Farewells++
		if p.told == encode.CloseElsewhere {
			p.w.stats.Elsewhere++
		}
		if ends := p.told == encode.CloseShutdown || p.told == encode.CloseElsewhere; ends &&
			(p.told == encode.CloseElsewhere) != (p.w.away != "") || !strings.HasSuffix(b, p.w.away) && ends {
			p.w.fail("%v: the end of the pipeline is Close % x; clients go to %q", p, b, p.w.away)
		}
		if b[6]&1 != 0 {
			p.allAnswered()
		}
		if p.w.p.phase.Fenced() && p.closed == transport.ReasonFenced {
			p.w.fail("%v: Close %d after a fence (R15)", p, p.told)
		}
	case b == simAnswer:
		if p.answers++; p.answers > p.answered {
			p.w.fail("%v: got %d responses that were no slots, of %d (I3)", p, p.answers,
				p.answered)
		}
	default:
		return false
	}
	return true
}

// allAnswered checks a Close that says that no request is carried out but those that were answered.
func (p *peer) allAnswered() {
	p.w.stats.AllAnswered++
	ended := p.answers
	for i := range p.slots[:p.got] {
		if s := &p.slots[i]; s.last || s.kind == KindBatchEnd {
			ended++
		}
	}
	if !p.gone || p.alone || ended != p.owed {
		p.w.fail("%v: Close says that all is answered; %d of %d requests are", p, ended, p.owed)
	}
}

// frame checks one whole frame.
func (p *peer) frame(b []byte) {
	if p.told != 0 {
		p.w.fail("%v: frame % x after Close", p, b)
		return
	}
	if !p.pending && (p.control(string(b)) || p.topicFrame(b)) {
		return
	}
	if p.got == len(p.slots) {
		p.w.fail("%v: frame % x, but no response is due (I3, I4)", p, b)
		return
	}
	s := &p.slots[p.got]
	if !p.pending {
		p.passed(s.position, -1)
	}
	if !p.w.oracle.mayPass(s) {
		p.w.fail("%v: response %d of seq %d before it was durable (I1)", p, s.n, s.seq)
	}
	end := len(b) == encode.BatchEndBytes && b[4] == encode.TagBatchEnd &&
		binary.LittleEndian.Uint64(b[5:]) == s.n
	switch {
	case p.pending || s.kind == KindBatchEnd || s.kind >= KindResume:
		if !end {
			p.w.fail("%v: want BatchEnd of response %d, got % x (I3, I13)", p, s.n, b)
		}
		p.arrived(s)
		return
	case s.bad != faultNone:
		p.w.fail("%v: response %d could not be encoded, got % x", p, s.n, b)
	case s.kind == KindQuery && string(b) != simQuery:
		p.w.fail("%v: want the response to a query, got % x (I3)", p, b)
	case s.kind == KindEngineError && (len(b) != 14 || b[4] != encode.TagEngineError ||
		binary.LittleEndian.Uint64(b[5:]) != s.n || b[13] != byte(encode.RefusedSize)):
		p.w.fail("%v: want EngineError, got % x (I3)", p, b)
	case (s.kind == KindSnapshotBegin || s.kind == KindSnapshotEnd) && !p.isSnapshot(s, b):
		p.w.fail("%v: want kind %d of topic %d at %d, got % x", p, s.kind, s.sub.topic+1, s.sub.seq, b)
	case s.kind == KindReport && (b[4] != tickTag || binary.LittleEndian.Uint64(b[5:]) != s.n):
		p.w.fail("%v: want response %d, got % x (I3)", p, s.n, b)
	}
	if s.kind == KindReport {
		for i := 13; i < len(b); i++ {
			if b[i] != byte(s.n+uint64(i)) {
				p.w.fail("%v: response %d has a wrong byte at %d (I3, I4)", p, s.n, i)
			}
		}
	}
	if s.kind == KindSnapshotEnd {
		p.subscribes(s)
	}
	if p.pending = s.last; !s.last {
		p.arrived(s)
	}
}

// arrived notes that one response arrived whole.
func (p *peer) arrived(s *tickSlot) {
	p.got++
	p.whole++
	p.pending = false
	if s.kind >= KindResume {
		p.subscribes(s)
	}
	p.inTime(s)
}

// inTime checks in a healthy world how long a frame took since the gate let it pass (I6).
func (p *peer) inTime(s *tickSlot) {
	w := p.w
	if !w.healthy || p.slow || w.swarm.window < 600 {
		return
	}
	wait, most := w.now-w.oracle.passedAt(s), int64(simHealthyWait)
	if p.sealer != nil {
		most *= 2 // it is opened with the whole of its record
	}
	if w.stats.HealthyWait = max(w.stats.HealthyWait, wait); wait > most {
		w.fail("%v: response %d took %d ns from the gate to a client that reads, and its kernel has no fault (I6)", p, s.n, wait)
	}
}

// simHealthyWait (ns) is twice the longest wait of clean seeds, 5,062 ns of 900. A client that
// holds up others does so for longer: in a healthy world it is given 40,000 ns before it is closed.
const simHealthyWait = 12_000

// simEncoder writes a tick as tickEncoder does, and its planted faults without the cost of a
// megabyte. Other goroutines may run while it works.
type simEncoder struct {
	w     *world
	large [300]byte
}

// AppendReport implements encode.Encoder.
func (e *simEncoder) AppendReport(dst []byte, r *tick) ([]byte, error) {
	if s := e.w.current; !s.napped && e.w.r.oneIn(e.w.swarm.midEncode) {
		e.w.runs.encoding = true
		s.stop()
		e.w.runs.encoding = false
	}
	e.w.runs.encodes(e.w, r)
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

// AppendQuery implements encode.Encoder.
func (e *simEncoder) AppendQuery(dst []byte, q *struct{}) ([]byte, error) {
	return append(dst, simQuery...), nil
}
