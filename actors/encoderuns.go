package actors

import (
	"sluice/actors/internal/shard"
	"sluice/telemetry"
	"sluice/transport"
)

// runs groups the slots of a row by connection, so that each connection gets one record (docs/decisions/0044):
//
//	row      A B A A C B
//	groups   A -> 0, 2, 3     B -> 1, 5     C -> 4
//	records  run of 3         run of 2      record of one slot
//
// Groups are encoded in the order of their first slots, and the slots of each in the order of the row. A row ends
// before a slot that concerns topics, because the frames of a topic go to connections that are not known here. It
// is released as a whole: if a shard's ring is full, the next step goes on where this one ended.
type runs struct {
	least int // slots of a row that are worth it
	most  int // responses of a record
	room  int // bytes that the frames of a slot can take
	rest  int // rows that are not grouped behind one of little use
	pause int // how many of those are to come

	row    int // number of slots of the row; 0 if there is none
	groups []group
	chain  []uint16 // by slot: the next one of its group
	table  []groupAt
	number uint32 // of the row, in the table
	at     int    // the group being encoded
	failed error  // of the next slot, which the application could not encode

	// The run being encoded, which has count responses.
	count, size, units int
	to                 int
	record             []byte
	uneven             uint64
}

// group is the slots of a row that go to one connection.
type group struct {
	conn       uint64
	next, last uint16 // slots: the next one to encode, and the last one
	left       uint16 // how many are to be encoded
}

// groupAt is an entry of the table that finds a connection's group: open addressing with linear probing. It is
// free unless it has the number of the row, so that a new row finds it empty.
type groupAt struct {
	conn  uint64
	row   uint32
	group uint32
}

const (
	runLeast = 32 // slots from which on grouping a row pays
	runRest  = 15 // rows that pay for a row whose connections have a slot each
)

// newRuns makes the memory for rows of a batch. record is the size of the largest record.
func newRuns(batch, room, least, record int) runs {
	row := min(ceilPower(batch), shard.RunRow)
	r := runs{least: least, rest: runRest, room: room, chain: make([]uint16, row), groups: make([]group, 0, row),
		table: make([]groupAt, 2*row)}
	r.most = min((record-shard.RecordBytes)/(shard.UnitBytes+room), shard.RunMost)
	if r.most < 2 {
		r.least = row + 1 // none
	}
	return r
}

// single returns how many slots are to be encoded one by one before some that are worth grouping.
func (e *encoder[R, Q]) single(slots []Slot[R, Q]) int {
	if len(slots) < e.runs.least {
		return len(slots)
	}
	if e.runs.pause > 0 {
		e.runs.pause--
		return len(slots)
	}
	stretch := 0
	for i := range slots {
		if slots[i].Kind >= KindTopic {
			stretch = 0
		} else if stretch++; stretch == e.runs.least {
			return i + 1 - stretch
		}
	}
	return len(slots)
}

// group makes groups of the slots up to the first one that concerns topics.
func (e *encoder[R, Q]) group(slots []Slot[R, Q]) {
	w := &e.runs
	slots = slots[:min(len(slots), len(w.chain))]
	if w.number++; w.number == 0 {
		clear(w.table)
		w.number = 1
	}
	groups, chain, table, number := w.groups[:0], w.chain, w.table, w.number
	mask := uint64(len(table) - 1)
	w.row, w.at = len(slots), 0
	var g *group
	for i := range slots {
		s := &slots[i]
		if s.Kind >= KindTopic {
			w.row = i
			break
		}
		if s.overtaken {
			s.overtaken = false // the producer gets the slot back as it was
			continue
		}
		if g == nil || g.conn != s.Conn {
			g = nil
			for h := s.Conn * 0x9E3779B97F4A7C15 >> 32; ; h++ {
				at := &table[h&mask]
				if at.row != number {
					at.conn, at.row, at.group = s.Conn, number, uint32(len(groups))
					break
				}
				if at.conn == s.Conn {
					g = &groups[at.group]
					break
				}
			}
			if g == nil {
				groups = append(groups, group{conn: s.Conn, next: uint16(i), last: uint16(i), left: 1})
				g = &groups[len(groups)-1]
				continue
			}
		}
		chain[g.last], g.last = uint16(i), uint16(i)
		g.left++
	}
	if w.groups = groups; 3*len(groups) > 2*w.row {
		w.pause = w.rest
	}
}

// grouped encodes the row from where the last step ended. It returns false if a shard's ring is full before the
// row ends.
func (e *encoder[R, Q]) grouped(slots []Slot[R, Q], position uint64, now int64) bool {
	w := &e.runs
	slots = slots[:w.row]
	for e.guardedRuns(slots, position, now) {
	}
	if w.at < len(w.groups) {
		return false
	}
	w.row = 0
	return true
}

// guardedRuns is guarded for groups. A panic of the application's encoder ends a run before the slot that caused
// it.
func (e *encoder[R, Q]) guardedRuns(slots []Slot[R, Q], position uint64, now int64) (panicked bool) {
	w := &e.runs
	defer func() {
		if err := e.framer.Caught(recover()); err != nil {
			e.endRun()
			w.failed = err
			panicked = true
		}
	}()
	for ; w.at < len(w.groups); w.at++ {
		g := &w.groups[w.at]
		for g.left > 0 {
			s := &slots[g.next]
			if g.left > 1 && w.failed == nil && s.traced == telemetry.TraceReasonNone &&
				uint64(now-s.Received) < 1<<32 && joins(s.Received, &slots[w.chain[g.next]]) {
				if !e.run(g, slots, position, now) {
					return false
				}
				continue
			}
			if !e.one(s, position+uint64(g.next), now, w.failed) {
				return false
			}
			w.failed = nil
			g.next, g.left = w.chain[g.next], g.left-1
		}
	}
	return false
}

// joins reports that s may be in a run whose first response is to a request that was received at that time.
func joins[R, Q any](received int64, s *Slot[R, Q]) bool {
	return s.traced == telemetry.TraceReasonNone && uint64(s.Received-received) < 1<<32
}

// run encodes slots of a group into one record. It returns false if the ring is full, and then has done nothing.
func (e *encoder[R, Q]) run(g *group, slots []Slot[R, Q], position uint64, now int64) bool {
	w := &e.runs
	hash, to := transport.Hash(g.conn), 0
	if len(e.shards) > 1 {
		to = transport.Shard(hash, len(e.shards))
	}
	n := min(int(g.left), w.most)
	size := shard.RecordBytes + n*shard.UnitBytes
	room := e.shards[to].Claim(size + n*w.room)
	if room == nil {
		return false
	}
	begin, s := g.next, &slots[g.next]
	received := s.Received
	r := shard.RecordIn(room)
	r.Conn, r.Hash, r.Position, r.Seq = g.conn, hash, position+uint64(begin), uint64(s.Seq)
	r.Received = received
	r.Flags = s.stamp(r, now)
	w.to, w.record, w.units, w.count, w.size, w.uneven = to, room, n, 0, size, 0
	units, stage := shard.UnitsIn(room, n), &e.rec.B.H[telemetry.StageEncode]
	for i, at := 0, begin; ; s = &slots[at] {
		var frames []byte
		var err error
		if dst := room[:size]; s.Kind == KindReport {
			frames, err = e.framer.Report(dst, &s.Report, s.Last, s.Request)
		} else {
			frames, err = e.rare(s, dst)
		}
		if err != nil {
			w.failed = err
			break
		}
		late := uint64(s.Received - received)
		units[i] = shard.NewUnit(len(frames)-size, uint64(at-begin), s.Last || s.Kind == KindBatchEnd, late)
		w.uneven |= late
		e.times.Add(stage, uint64(max(now-s.opened, 0)))
		i, size, at = i+1, len(frames), w.chain[at]
		w.count, w.size, g.next = i, size, at
		if i == n || !joins(received, &slots[at]) {
			break
		}
	}
	e.endRun()
	return true
}

// endRun ends the record of the run that is being encoded, if it has a response.
func (e *encoder[R, Q]) endRun() {
	w := &e.runs
	n := w.count
	if n == 0 {
		return
	}
	start, size := shard.RecordBytes+w.units*shard.UnitBytes, w.size
	if n < w.units { // the frames move to where the units end
		copy(w.record[shard.RecordBytes+n*shard.UnitBytes:], w.record[start:size])
		size -= (w.units - n) * shard.UnitBytes
		start = shard.RecordBytes + n*shard.UnitBytes
	}
	r := shard.RecordIn(w.record)
	r.Flags |= uint32(n) << shard.RecordCount
	if w.uneven != 0 {
		r.Flags |= shard.RecordUneven
	}
	e.shards[w.to].Commit(size)
	e.waiting[w.to] += n
	e.frames += uint64(n)
	e.bytes += uint64(size - start)
	w.groups[w.at].left -= uint16(n)
	w.count, w.record = 0, nil
}

// dropped ends an interrupted row of a pipeline that has failed, and returns how many of its slots are not
// encoded.
func (e *encoder[R, Q]) dropped() (n uint64) {
	w := &e.runs
	for ; w.at < len(w.groups); w.at++ {
		n += uint64(w.groups[w.at].left)
	}
	if w.row > 0 {
		e.slots.Batch(w.row)
		e.slots.Release(w.row)
		w.row = 0
	}
	return n
}
