package shard

import (
	"sluice/telemetry"
	"sluice/transport"
)

// deliver appends one response to its connection, or counts why it was dropped. A record of another kind
// is taken.
func (e *Shard) deliver(b []byte, now int64) {
	r := RecordIn(b)
	if r.Flags >= KindTopic<<RecordKind {
		if r.Flags >= 1<<RecordCount {
			e.deliverRun(r, b, now)
			return
		}
		if r.Flags < KindSnapshotBegin<<RecordKind {
			e.publish(r, b, now)
			return
		}
		if r.Flags >= KindSnapshotEnd<<RecordKind {
			e.subscribe(r, b, now)
			return
		}
	}
	entry, ok := e.table.index.Get(r.Hash, r.Conn)
	if !ok {
		e.rec.B.C[telemetry.DropClientGone.Counter()]++
		return
	}
	c := &e.table.conns[entry]
	frames := b[RecordBytes:]
	if r.Flags&RecordParent != 0 {
		frames = frames[:len(frames)-ParentBytes]
	}
	if r.Position < c.Since || r.Flags&RecordFailed != 0 ||
		c.State&(transport.StateClosing|transport.StateFarewell) != 0 {
		e.reject(r, entry, frames, now)
		return
	}
	c.Pin() // first: an append can end the connection, and the entry must outlive this response
	if !e.append(c, entry, frames, now) {
		e.drop(dropReason(c), 1)
		e.unpin(entry, now)
		return
	}
	if r.Flags&RecordTraced != 0 || r.Received < e.traces.oldest.record.Received {
		e.traces.note(len(e.ledger.samples), b, len(frames), now)
	}
	e.ledger.samples = append(e.ledger.samples,
		sample{entry: entry, bytes: uint32(len(frames)) | sampleSlot, received: r.Received,
			appended: now})
	if r.Flags&RecordLast != 0 {
		e.answered(c, entry, len(frames), now)
	}
	e.ledger.queued.Add(&e.rec.B.H[telemetry.StageQueue],
		uint64(max(now-r.Received-int64(r.Encoded), 0)))
}

// answered counts a request whose response is complete. If its last part has no bytes, no send of it
// completes, so a half-closed connection may be done here.
func (e *Shard) answered(c *transport.Conn, entry uint32, bytes int, now int64) {
	c.Ended++
	if bytes == 0 && c.Has(transport.StateHalfClosed) {
		e.finishHalfClosed(entry, now)
	}
}

// reject drops a response that its connection must not receive. Instead of frames, one that could not be
// encoded has the error.
func (e *Shard) reject(r *Record, entry uint32, frames []byte, now int64) {
	c := &e.table.conns[entry]
	switch {
	case r.Position < c.Since: // a response to an earlier owner of this id (I4)
		e.rec.B.C[telemetry.DropClientGone.Counter()]++
	case c.State&(transport.StateClosing|transport.StateFarewell) != 0:
		e.drop(c.Reason, 1)
	default: // it could not be encoded
		e.rec.B.C[telemetry.DropEncodeError.Counter()]++
		e.mail.failures[c.ID] = string(frames)
		e.dismiss(entry, transport.ReasonEncodeError, now) // the responses before it leave first
	}
}

// append copies p into the buffer of connection c, which is entry, and marks it dirty. It returns
// false if the connection was ended instead, or if the ring is in doubt, for which no client is
// closed.
func (e *Shard) append(c *transport.Conn, entry uint32, p []byte, now int64) bool {
	if len(p) == 0 { // of a raw framing; the connection may have no buffer
		return true
	}
	if c.Has(transport.StateSubscribed) && !e.mix(entry, now) {
		return false
	}
	l := &e.class[c.Class]
	if !c.AppendInPlace(e.slab, l, p) && !e.appendMakingRoom(entry, l, p, now) {
		return false
	}
	if !c.Has(transport.StateDirty) {
		e.markDirty(entry)
	}
	if c.Unsent() >= e.cfg.FlushBytes && c.CanSend() {
		e.queueSend(entry, now)
	}
	return true
}

// appendMakingRoom is append for a buffer that is full or close to a limit. A client that reads is
// never closed because the pipeline was busy: pending bytes are sent before the limit is checked.
func (e *Shard) appendMakingRoom(entry uint32, l *transport.Limits, p []byte, now int64) bool {
	c := &e.table.conns[entry]
	if c.Unsent()+len(p) > l.HardBytes && !e.makeRoom(entry, len(p), now) {
		return false
	}
	for !c.Append(e.slab, l, p, now) {
		if !e.freeMemory(now) || c.Has(transport.StateClosing) {
			if !c.Has(transport.StateClosing) && e.err == nil {
				e.close(entry, transport.ReasonShardBudget, now)
			}
			return false
		}
	}
	return true
}

// makeRoom makes n bytes fit under the hard limit by sending. It returns false if the connection
// was ended or the ring is in doubt.
func (e *Shard) makeRoom(entry uint32, n int, now int64) bool {
	e.sendPending(entry, now)
	c := &e.table.conns[entry]
	if c.Has(transport.StateClosing) || e.err != nil {
		return false
	}
	if c.Unsent()+n > e.class[c.Class].HardBytes {
		e.close(entry, transport.ReasonSlowHard, now)
		return false
	}
	return true
}

// sendPending sends what a connection holds, before its limit is checked or it is closed: first a
// send that is queued already, then the rest. It can end the connection, so the caller pins the
// entry.
func (e *Shard) sendPending(entry uint32, now int64) {
	c := &e.table.conns[entry]
	if c.Sending() != 0 {
		e.submit(now)
	}
	if c.Has(transport.StatePolling) { // it may have become writable since the last reap
		e.reap(now)
	}
	c.Clear(transport.StateRetry) // the kernel may have memory again
	if c.CanSend() || e.behind(c, entry) {
		e.send(entry, now)
		e.submit(now)
	}
	for e.sealing.more { // a send takes a part of what it holds
		e.sealing.more = false
		if c.State&(transport.StateSecure|transport.StateClosing) == transport.StateSecure {
			e.send(entry, now)
			e.submit(now)
		}
	}
	if c.Sending() != 0 {
		e.addBlocked(entry, now) // its completion is late
	}
}

// appendControl appends a control frame, which the ledger does not count.
func (e *Shard) appendControl(entry uint32, frame []byte, now int64) bool {
	c := &e.table.conns[entry]
	c.Pin()
	if !e.append(c, entry, frame, now) {
		e.unpin(entry, now)
		return false
	}
	e.ledger.samples = append(e.ledger.samples, sample{entry: entry, bytes: uint32(len(frame))})
	return true
}

// unpin releases the pin of a response that was not appended.
func (e *Shard) unpin(entry uint32, now int64) {
	e.table.conns[entry].Unpin()
	e.release(entry, now)
}

// markDirty records that the connection has something to send.
func (e *Shard) markDirty(entry uint32) {
	if c := &e.table.conns[entry]; !c.Has(transport.StateDirty) {
		c.Set(transport.StateDirty)
		e.outbox.dirty = append(e.outbox.dirty, entry)
	}
}
