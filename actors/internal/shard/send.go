package shard

import (
	"syscall"

	"sluice/telemetry"
	"sluice/transport"
)

// flush sends what is new, one send for each connection, and reaps. It never waits: a send to a
// socket that refuses bytes completes at once, and the socket is polled from then on
// (docs/decisions/0003).
func (e *Shard) flush(why telemetry.Counter, now int64) {
	if len(e.outbox.dirty) == 0 && len(e.topics.dirty) == 0 && !e.hasRequests() {
		return
	}
	if len(e.outbox.dirty) > 0 || len(e.topics.dirty) > 0 {
		e.rec.B.C[why]++
	}
	e.outbox.flushed = now
	e.flushDirty(now)
	for e.sealing.more { // a send takes a part of what its connection holds
		e.sealing.more = false
		e.flushDirty(now)
	}
}

// flushDirty makes one send for each connection with something new.
func (e *Shard) flushDirty(now int64) {
	dirty := e.outbox.dirty
	// What becomes dirty meanwhile is for the next flush, which may be made within this one for want of
	// memory.
	e.outbox.dirty, e.outbox.spare = e.outbox.spare[:0], nil
	for _, entry := range dirty {
		c := &e.table.conns[entry]
		c.Clear(transport.StateDirty)
		if c.CanSend() {
			e.queueSend(entry, now)
		} else if c.Has(transport.StateSubscribed) {
			e.sendTape(entry, now)
		}
	}
	e.outbox.spare = dirty
	if len(e.topics.dirty) > 0 {
		e.flushFeeds(now)
	}
	e.submit(now)
	for _, entry := range dirty {
		if c := &e.table.conns[entry]; c.Sending() != 0 {
			e.addBlocked(entry, now) // its completion is late: the no-progress clock runs
		}
	}
}

// send queues one send of a connection: of its own bytes, which come first, or from a tape.
func (e *Shard) send(entry uint32, now int64) {
	if c := &e.table.conns[entry]; c.CanSend() {
		e.queueSend(entry, now)
	} else if c.Has(transport.StateSubscribed) {
		e.sendTape(entry, now)
	}
}

// hasRequests reports that requests wait to be submitted.
func (e *Shard) hasRequests() bool {
	return len(e.outbox.polls) > 0 || len(e.outbox.cancels) > 0 || e.ring.Queued() > 0
}

// queueSend queues one send of everything that is unsent. If the kernel is short of memory, the
// send is left for the next flush.
func (e *Shard) queueSend(entry uint32, now int64) {
	if !e.ensureQueueRoom(now) {
		e.markDirty(entry)
		return
	}
	c := &e.table.conns[entry]
	if !c.CanSend() {
		return // ended or blocked while room was made
	}
	e.rec.B.Mark(telemetry.MarkBuffered, uint64(c.Unsent()))
	if c.Has(transport.StateSecure) {
		e.sendSealed(c, entry, now)
		return
	}
	if !e.ring.Send(c.FD, c.BeginSend(e.slab), userData(opSend, c.Gen, entry)) {
		panic("actors: the ring rejected a send although it has room")
	}
}

// ensureQueueRoom makes sure that a request can be queued. It returns false if the kernel accepts
// none now.
func (e *Shard) ensureQueueRoom(now int64) bool {
	if e.ring.Queued() < e.outbox.entries {
		return e.err == nil
	}
	e.submit(now)
	return e.err == nil && e.ring.Queued() < e.outbox.entries
}

// submit hands all queued requests to the kernel and takes the completions that are ready. Polls
// and cancellations that result from them are submitted too. It is never called while completions
// are being processed.
func (e *Shard) submit(now int64) {
	for e.err == nil {
		if e.ring.Queued() > 0 {
			e.rec.B.C[telemetry.EgressSubmits]++
			before := e.ring.Queued()
			e.rec.B.Mark(telemetry.MarkInFlight, uint64(before))
			if e.err = e.ring.Submit(); e.err != nil {
				return
			}
			if refused := e.ring.Queued() >= before; refused != e.outbox.refused {
				e.refuse(refused)
			}
		}
		starved := e.ring.Queued() > 0
		e.reap(now)
		if starved || !e.queuePolls(now) {
			return
		}
	}
}

// refuse notes that the ring takes nothing any more, or something again.
func (e *Shard) refuse(refused bool) {
	if e.outbox.refused = refused; refused {
		e.Gauges.Refusals.Begin()
		return
	}
	e.Gauges.Refusals.End()
}

// queuePolls queues the wanted polls and cancellations as far as there is room, and reports whether
// it queued any.
func (e *Shard) queuePolls(now int64) (queued bool) {
	for len(e.outbox.polls) > 0 && e.ring.Queued() < e.outbox.entries {
		entry := e.outbox.polls[len(e.outbox.polls)-1]
		e.outbox.polls = e.outbox.polls[:len(e.outbox.polls)-1]
		c := &e.table.conns[entry]
		if c.Has(transport.StateClosing) { // ended before its poll was queued
			c.Clear(transport.StatePolling)
			e.release(entry, now)
			continue
		}
		if !e.ring.Poll(c.FD, userData(opPoll, c.Gen, entry)) {
			panic("actors: the ring rejected a poll although it has room")
		}
		e.rec.B.C[telemetry.EgressPolls]++
		queued = true
	}
	for len(e.outbox.cancels) > 0 && e.ring.Queued() < e.outbox.entries {
		user := e.outbox.cancels[len(e.outbox.cancels)-1]
		e.outbox.cancels = e.outbox.cancels[:len(e.outbox.cancels)-1]
		if !e.ring.Cancel(user) {
			panic("actors: the ring rejected a cancellation although it has room")
		}
		queued = true
	}
	return queued
}

// reap takes completions until there are none.
func (e *Shard) reap(now int64) int {
	total := 0
	for e.err == nil {
		n := e.ring.Reap(e.outbox.reaped[:])
		for _, done := range e.outbox.reaped[:n] {
			e.complete(done, now)
		}
		total += n
		if n < len(e.outbox.reaped) {
			break
		}
	}
	return total
}

// complete applies a completion to its connection. The entry cannot have been reused, because it is
// released only when the kernel holds nothing of it; the generation is checked nevertheless (I4).
func (e *Shard) complete(done transport.Completion, now int64) {
	entry, gen, op := uint32(done.User), uint32(done.User>>32)&genMask, done.User>>56
	var c *transport.Conn
	if int(entry) < len(e.table.conns) {
		c = &e.table.conns[entry]
	}
	if c == nil || c.Gen&genMask != gen || !c.Has(transport.StateOpen) {
		e.rec.B.C[telemetry.EgressStale]++
		return
	}
	if op == opPoll {
		c.Clear(transport.StatePolling)
		switch {
		case c.Has(transport.StateClosing):
			e.release(entry, now)
		case done.Res < 0 && c.Has(transport.StateBlocked):
			// The kernel cannot poll it, and polling again at once would spin: the next tick sends.
			c.Set(transport.StateRetry)
		case c.Unsent() > 0 || e.behind(c, entry):
			c.Set(transport.StateWoken)
			e.markDirty(entry)
		}
		return
	}
	asked := c.Sending()
	sent := max(int(done.Res), 0)
	var remain bool
	switch {
	case c.State&(transport.StateSharing|transport.StateSecure) == 0:
		remain = c.CompleteSend(e.slab, &e.class[c.Class], sent, now)
		if c.Has(transport.StateSubscribed) && !remain {
			remain = e.behind(c, entry)
		}
	case c.Has(transport.StateSecure):
		asked, remain = e.completeSealed(c, entry, sent, now)
	default:
		remain = e.completeShare(c, entry, sent, now)
	}
	e.rec.B.C[telemetry.EgressBytesSent] += uint64(sent)
	if sent > 0 && c.QueuedUnits() > 0 {
		e.countDelivered(c, now)
	}
	switch {
	case c.Has(transport.StateClosing):
		e.release(entry, now)
	case done.Res < 0:
		e.sendFailed(entry, syscall.Errno(-done.Res), now)
	case sent < asked:
		e.rec.B.C[telemetry.EgressSendShort]++
		e.pollBlocked(entry, now)
	default:
		e.rec.B.C[telemetry.EgressSendOK]++
		if remain { // appended while the send was in flight, or the next part of a tape
			e.markDirty(entry)
			if c.Has(transport.StateSecure) { // it goes on in this flush, and is as blocked as it was
				e.sealing.more = true
				return
			}
			e.topics.more = e.topics.more || c.Has(transport.StateSubscribed)
		}
		const late = transport.StateBlocked | transport.StateSlow | transport.StateHalfClosed
		if c.BlockedSince() != 0 || c.State&late != 0 {
			e.clearBlocked(entry, now)
		}
		if c.Has(transport.StateLost) {
			e.recoverLost(entry)
		}
	}
}

// sendFailed handles a send that failed.
func (e *Shard) sendFailed(entry uint32, errno syscall.Errno, now int64) {
	c := &e.table.conns[entry]
	switch errno {
	case syscall.EAGAIN:
		e.rec.B.C[telemetry.EgressSendAgain]++
		// Still no room: the kernel lacks memory, and polling again would spin.
		if c.Has(transport.StateWoken) {
			c.Set(transport.StateRetry)
		}
		e.pollBlocked(entry, now)
	case syscall.EINTR:
		e.rec.B.C[telemetry.EgressInterrupted]++
		e.markDirty(entry)
	case syscall.ENOBUFS, syscall.ENOMEM:
		e.rec.B.C[telemetry.EgressNoMemory]++
		c.Set(transport.StateRetry) // no event reports free memory: the next tick retries
		e.pollBlocked(entry, now)
	case syscall.EPIPE, syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
		syscall.ENOTCONN:
		e.close(entry, transport.ReasonPeerReset, now)
	default:
		e.rec.B.C[telemetry.EgressSendError]++
		e.close(entry, transport.ReasonSendError, now)
	}
}

// pollBlocked adds a connection whose socket refused bytes to the blocked list and polls it for
// writability.
func (e *Shard) pollBlocked(entry uint32, now int64) {
	e.addBlocked(entry, now)
	c := &e.table.conns[entry]
	if c.State&(transport.StateRetry|transport.StatePolling) == 0 {
		c.Set(transport.StatePolling)
		e.outbox.polls = append(e.outbox.polls, entry)
	}
}

// addBlocked adds a connection whose bytes do not leave to the blocked list. The timer checks the
// limits of its members.
func (e *Shard) addBlocked(entry uint32, now int64) {
	c := &e.table.conns[entry]
	c.MarkBlocked(now)
	if c.Has(transport.StateBlocked) || c.Has(transport.StateClosing) {
		return
	}
	c.Set(transport.StateBlocked)
	c.Next, c.Prev = e.blocked.first, 0
	if e.blocked.first != 0 {
		e.table.conns[e.blocked.first].Prev = entry
	}
	e.blocked.first = entry
	e.blocked.count++
}

// clearBlocked removes a connection whose socket took everything that was sent from the blocked
// list.
func (e *Shard) clearBlocked(entry uint32, now int64) {
	c := &e.table.conns[entry]
	c.ClearBlocked()
	if c.Has(transport.StateSlow) {
		c.Clear(transport.StateSlow)
		e.notify(NoticeRecovered, c, now)
	}
	e.removeBlocked(entry)
	if c.Has(transport.StateHalfClosed) {
		e.finishHalfClosed(entry, now)
	}
}

// removeBlocked removes the entry from the blocked list if it is there.
func (e *Shard) removeBlocked(entry uint32) {
	c := &e.table.conns[entry]
	if !c.Has(transport.StateBlocked) {
		return
	}
	c.Clear(transport.StateBlocked)
	if c.Prev != 0 {
		e.table.conns[c.Prev].Next = c.Next
	} else {
		e.blocked.first = c.Next
	}
	if c.Next != 0 {
		e.table.conns[c.Next].Prev = c.Prev
	}
	c.Next, c.Prev = 0, 0
	e.blocked.count--
}
