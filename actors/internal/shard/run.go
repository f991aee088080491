package shard

import (
	"unsafe"

	"sluice/telemetry"
	"sluice/transport"
)

// A run is a record of several responses to one connection, none of them traced or failed. Its stamps are those of
// the first one, and no other was received before it. Units stand between the record and the frames, one for
// each response in the order of their positions:
//
//	| Record, number of units | unit | unit | unit | frames | frames | frames |
//
// A shard appends the responses of a run at once if that is what it would do with each of them, else one by one.

// Unit describes a response in a run:
//
//	 0..16  bytes of its frames
//	17..30  its position in the slot ring behind that of the record
//	31      its frames end with BatchEnd
//	32..63  when it was received, ns after the record's
type Unit uint64

const (
	UnitBytes = 8

	RunMost  = 255      // responses in a run
	RunBytes = 64 << 10 // of a record at most, so that the size of a response fits its unit
	RunRow   = 1 << 14  // positions of a run differ by less

	unitSize     = 1<<17 - 1
	unitPosition = 17
	unitLast     = 1 << 31
	unitReceived = 32
)

// NewUnit makes the unit of a response. received is less than 2^32.
func NewUnit(size int, position uint64, last bool, received uint64) Unit {
	u := Unit(size) | Unit(position)<<unitPosition | Unit(received)<<unitReceived
	if last {
		u |= unitLast
	}
	return u
}

func (u Unit) size() uint32     { return uint32(u & unitSize) }
func (u Unit) position() uint64 { return uint64(u) >> unitPosition & (RunRow - 1) }
func (u Unit) received() int64  { return int64(u >> unitReceived) }
func (u Unit) ends() uint64     { return uint64(u) / unitLast & 1 }

// UnitsIn are the first n units of the record at the start of b, in place.
func UnitsIn(b []byte, n int) []Unit {
	_ = b[RecordBytes+n*UnitBytes-1]
	return unsafe.Slice((*Unit)(unsafe.Pointer(&b[RecordBytes])), n)
}

// responses is the number of responses in a record, which the ledger counts.
func responses(b []byte) int {
	if isTopic(b) {
		return 0
	}
	return max(int(RecordIn(b).Flags>>RecordCount), 1)
}

// deliverRun appends the responses of a run to their connection, or counts why they were dropped.
func (e *Shard) deliverRun(r *Record, b []byte, now int64) {
	n := int(r.Flags >> RecordCount)
	e.outbox.gathered += n - 1
	units, frames := UnitsIn(b, n), b[RecordBytes+n*UnitBytes:]
	entry, ok := e.table.index.Get(r.Hash, r.Conn)
	if !ok {
		e.rec.B.C[telemetry.DropClientGone.Counter()] += uint64(n)
		return
	}
	c := &e.table.conns[entry]
	if r.Position < c.Since || !e.appendRun(c, entry, r, units, frames, now) {
		e.deliverEach(r, units, frames, now)
	}
}

// appendRun appends the responses of a whole run at once. It returns false, and has appended nothing, if their
// connection gets nothing more, or is so close to a limit that each response has to be judged.
func (e *Shard) appendRun(c *transport.Conn, entry uint32, r *Record, units []Unit, frames []byte, now int64) bool {
	const ending = transport.StateClosing | transport.StateFarewell
	l := &e.class[c.Class]
	switch {
	case c.State&ending != 0 || len(frames) == 0 || e.behind(c, entry):
		return false
	case c.AppendInPlace(e.slab, l, frames):
	case c.Unsent()+len(frames) > l.SoftBytes || !c.Append(e.slab, l, frames, now):
		return false
	}
	c.PinMany(len(units)) // a send can end the connection, and the entry must outlive the responses
	if !c.Has(transport.StateDirty) {
		e.markDirty(entry)
	}
	if r.Received < e.traces.oldest.record.Received {
		e.traces.oldest = traced{sample: len(e.ledger.samples), bytes: units[0].size(), record: *r, appended: now}
	}
	e.ledger.addRun(entry, r, units, len(frames), now)
	for _, u := range units {
		c.Ended += u.ends()
	}
	e.ledger.queued.AddN(&e.rec.B.H[telemetry.StageQueue],
		uint64(max(now-r.Received-int64(r.Encoded), 0)), uint32(len(units)))
	if c.Unsent() >= e.cfg.FlushBytes && c.CanSend() {
		e.queueSend(entry, now)
	}
	return true
}

// deliverEach delivers the responses of a run one by one: each as if it had a record of its own, which is not
// traced, except for the first one.
func (e *Shard) deliverEach(r *Record, units []Unit, frames []byte, now int64) {
	for i, u := range units {
		n := int(u.size())
		b := append(append(e.ledger.single[:0], make([]byte, RecordBytes)...), frames[:n]...)
		e.ledger.single, frames = b, frames[n:]
		one := RecordIn(b)
		*one = *r
		one.Position += u.position()
		one.Received += u.received()
		one.Encoded -= min(one.Encoded, uint32(u.received()))
		one.Flags = r.Flags&(1<<RecordCount-1)&^RecordUneven | uint32(u.ends())*RecordLast
		oldest := e.traces.oldest
		e.deliver(b, now)
		if i > 0 {
			e.traces.oldest = oldest // the stamps are those of the first one
		}
	}
}

// addRun notes a run that was appended.
func (l *ledger) addRun(entry uint32, r *Record, units []Unit, bytes int, now int64) {
	l.samples = append(l.samples, sample{entry: entry, bytes: uint32(bytes) | sampleRun,
		received: r.Received, appended: now})
	l.units = append(l.units, Unit(len(units))|Unit(r.Flags&RecordUneven)<<unitPosition)
	l.units = append(l.units, units...)
}

// settleRun gives the responses of a run their ledger entries, and returns how many of them were sent.
func (e *Shard) settleRun(s *sample, c *transport.Conn, now int64) (sent uint64) {
	head := e.ledger.units[e.ledger.next]
	units := e.ledger.units[e.ledger.next+1:][:head&unitSize]
	e.ledger.next += 1 + len(units)
	b, age := e.rec.B, now-s.received
	whole, batched := &b.H[telemetry.StageWhole], &b.H[telemetry.StageBatch]
	wait := uint64(max(e.outbox.flushed-s.appended, 0))
	if c.TakeCredit(s.bytes & sampleLen) {
		c.UnpinMany(len(units))
		e.ledger.batched.AddN(batched, wait, uint32(len(units)))
		if head <= unitSize {
			e.ledger.whole.AddN(whole, uint64(max(age, 0)), uint32(len(units)))
		} else {
			for _, u := range units {
				e.ledger.whole.Add(whole, uint64(max(age-u.received(), 0)))
			}
		}
		sent, units = uint64(len(units)), nil
	}
	for i, u := range units {
		c.Unpin()
		if c.TakeCredit(u.size()) {
			sent++
			e.ledger.whole.Add(whole, uint64(max(age-u.received(), 0)))
			e.ledger.batched.Add(batched, wait)
			continue
		}
		if i == 0 {
			s.bytes = 0 // not delivered yet
		}
		e.queueUnit(s.entry, transport.Unit{Len: u.size(),
			Received: uint32((s.received + u.received()) >> receivedShift), Slot: true}, now)
	}
	return sent
}
