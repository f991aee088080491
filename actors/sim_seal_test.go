package actors

import (
	"encoding/binary"

	"sluice/actors/internal/shard"
	"sluice/transport"
)

// In one world of four, connections have a Sealer. Its records are what those of TLS are to a shard: they
// are numbered, the key of each depends on its number, its connection and the key updates before it, and
// the reading side writes records of its own between them. The client opens them and compares.
//
//	kind, 0, length of the body (2 bytes), number (4 bytes), body, sum of key and body (4 bytes)
const (
	simHead = 8
	simTail = 4

	simData   = 0xA1
	simUpdate = 0xA2 // of the key, by the reading side
	simAlert  = 0xA3 // by the reading side: nothing follows
	simEnd    = 0xA4 // by the shard: nothing follows
)

// sealStats counts what happened to sealed connections.
type sealStats struct {
	Connects, Records, Full, Updates, Alerts, Ends, Torn uint64
}

func (s *sealStats) fields() []namedCount {
	return []namedCount{
		{"Sealed", &s.Connects, false}, {"SealedRecords", &s.Records, false}, {"SealedFull", &s.Full, false},
		{"SealedUpdates", &s.Updates, true}, {"SealedAlerts", &s.Alerts, true}, {"SealedEnds", &s.Ends, false},
		{"SealedTorn", &s.Torn, false},
	}
}

// drawSeals draws how many connections of a world are sealed. Worlds of other seeds draw nothing, so they run as
// they did before there were any. The memory of a shard has room for a block of records.
func (w *world) drawSeals(seed uint64) {
	w.segment, w.frame = 16<<10, 60
	if seed%8 != 0 && seed%8 != 6 {
		return
	}
	w.sealPct, w.segment = pick(w.r, 50, 100), 64<<10
	if w.r.oneIn(2) { // buffers of several records
		w.frame, w.swarm.maxBurst = 240, 64
		for _, limits := range w.limits {
			for i := range limits {
				limits[i].HardBytes, limits[i].SoftBytes = 60_000>>i, 30_000>>i
			}
		}
	}
}

// simKeys are the keys of one direction, as one of its ends knows them.
type simKeys struct{ key, next uint32 }

// simSealer is the Sealer of a connection, and the client's end of it.
type simSealer struct {
	w       *world
	server  simKeys
	side    []byte // records of the reading side that are not taken yet
	dead    bool   // an alert or the end was made
	client  simKeys
	records []byte // received and not yet opened
	ended   bool   // the client has received an alert or the end
}

// sealed gives a new connection its Sealer, or none.
func (w *world) sealed(fd int32) *simSealer {
	if !w.r.pct(w.sealPct) {
		return nil
	}
	w.stats.Seal.Connects++
	keys := simKeys{key: uint32(w.r.uint64()) ^ uint32(fd), next: 1}
	return &simSealer{w: w, server: keys, client: keys}
}

// pad is the key of one record.
func (k *simKeys) pad() uint32 { return (k.key ^ k.next*0x85EBCA77) * 0x9E3779B1 }

// update moves on to the next key.
func (k *simKeys) update() { k.key = k.key*0xC2B2AE3D + 1 }

// simSum is the sum of a record's key and body.
func simSum(pad uint32, body []byte) uint32 {
	for _, b := range body {
		pad = (pad ^ uint32(b)) * 0x01000193
	}
	return pad
}

// seal appends a record.
func (s *simSealer) seal(dst []byte, kind byte, plain []byte) []byte {
	pad := s.server.pad()
	dst = binary.LittleEndian.AppendUint16(append(dst, kind, 0), uint16(len(plain)))
	dst = binary.LittleEndian.AppendUint32(dst, s.server.next)
	at := len(dst)
	for i, b := range plain {
		dst = append(dst, b^byte(pad>>(i%4*8)))
	}
	s.server.next++
	return binary.LittleEndian.AppendUint32(dst, simSum(pad, dst[at:]))
}

// Seal implements transport.Sealer.
func (s *simSealer) Seal(dst, plain []byte) ([]byte, error) {
	if len(plain) == 0 || len(plain) > transport.SealRecord {
		s.w.fail("a record of %d plain bytes is asked for", len(plain))
	}
	dst, s.side = append(dst, s.side...), nil
	if s.dead {
		return dst, errSimSealed
	}
	s.w.stats.Seal.Records++
	count(&s.w.stats.Seal.Full, len(plain) == transport.SealRecord)
	return s.seal(dst, simData, plain), nil
}

// End implements transport.Sealer.
func (s *simSealer) End(dst []byte) ([]byte, error) {
	dst, s.side = append(dst, s.side...), nil
	if s.dead {
		return dst, errSimSealed
	}
	s.dead = true
	return s.seal(dst, simEnd, nil), nil
}

// write is the reading side making a record.
func (s *simSealer) write(kind byte) {
	if s.dead {
		return
	}
	s.side = s.seal(s.side, kind, nil)
	switch kind {
	case simUpdate:
		s.w.stats.Seal.Updates++
		s.server.update()
	case simAlert:
		s.w.stats.Seal.Alerts++
		s.dead = true
	}
}

// take reads what a peer's socket has, and opens the records that are whole.
func (p *peer) take(limit int) {
	s := p.sealer
	if s == nil {
		p.rx = p.sim.Take(p.rx, limit)
		return
	}
	s.records = p.sim.Take(s.records, limit)
	rest := s.records
	for len(rest) >= simHead && p.w.err == nil {
		size := simHead + int(binary.LittleEndian.Uint16(rest[2:])) + simTail
		if len(rest) < size {
			break
		}
		p.open(rest[:size])
		rest = rest[size:]
	}
	s.records = s.records[:copy(s.records, rest)]
}

// open opens a record.
func (p *peer) open(record []byte) {
	s, kind, body := p.sealer, record[0], record[simHead:len(record)-simTail]
	pad := s.client.pad()
	number := binary.LittleEndian.Uint32(record[4:])
	switch {
	case s.ended:
		p.w.fail("%v: record %d of kind %#x behind the end of the stream", p, number, kind)
	case number != s.client.next:
		p.w.fail("%v: record %d, want %d", p, number, s.client.next)
	case binary.LittleEndian.Uint32(record[len(record)-simTail:]) != simSum(pad, body):
		p.w.fail("%v: record %d of kind %#x cannot be opened", p, number, kind)
	}
	s.client.next++
	switch kind {
	case simData:
		for i, b := range body {
			p.rx = append(p.rx, b^byte(pad>>(i%4*8)))
		}
	case simUpdate:
		s.client.update()
	default:
		s.ended = true
		count(&p.w.stats.Seal.Ends, kind == simEnd)
	}
}

// unopened is the number of bytes of a record that is not whole.
func (p *peer) unopened() int {
	if p.sealer == nil {
		return 0
	}
	return len(p.sealer.records)
}

// reads is the reader of a sealed connection taking records from its client, whose answers it leaves to the
// shard: a key update, or the alert after a record that is none, with which it releases the socket.
func (w *world) readRecords(p *peer) {
	if p.sealer == nil || p.alone || p.gone || !p.owned || p.sim.HalfClosed() || !w.faults {
		return
	}
	switch {
	case w.r.oneIn(400):
		p.sealer.write(simAlert)
		p.cut = true
		if w.p.mail.events.TrySend(shard.Event{Kind: shard.EventDisconnect, Conn: p.id, Owed: p.owed,
			Hash: transport.Hash(p.id), Reason: transport.ReasonRecordMalformed}) {
			p.gone = true
		}
	case w.r.oneIn(20):
		p.sealer.write(simUpdate)
	}
}

// streamEnded checks that a client has received the end of its stream, if it got everything else.
func (p *peer) streamEnded() {
	s := p.sealer
	count(&p.w.stats.Seal.Torn, s != nil && len(s.records) > 0)
	clean := p.closed == transport.ReasonPeerClosed || p.closed == transport.ReasonShutdown && !p.w.cutShort
	if s != nil && !p.cut && clean && !p.w.tight && !s.ended {
		p.w.fail("%v: closed as %v without the end of its stream", p, p.closed)
	}
}
