package shard

import (
	"sluice/telemetry"
	"sluice/transport"
)

// settle gives the responses of the last step their ledger entries, and those that were sent their
// end-to-end time: now is the first clock reading after their completion (R37).
func (e *Shard) settle(now int64) int {
	n := len(e.ledger.samples)
	if e.ledger.settled {
		return 0
	}
	e.ledger.settled = true
	e.traceTopics(now)
	if n == 0 {
		return 0
	}
	b := e.rec.B
	whole := &b.H[telemetry.StageWhole]
	sent := uint64(0)
	for i := range e.ledger.samples {
		s := &e.ledger.samples[i]
		c := &e.table.conns[s.entry]
		c.Unpin()
		switch {
		case s.bytes&sampleSlot == 0:
			sent += e.settleOther(s, c, now)
		case c.TakeCredit(s.bytes & sampleLen):
			sent++
			e.ledger.whole.Add(whole, uint64(max(now-s.received, 0)))
			e.ledger.batched.Add(&b.H[telemetry.StageBatch],
				uint64(max(e.outbox.flushed-s.appended, 0)))
		default:
			e.queueUnsent(s, now)
		}
		if c.Has(transport.StateClosing) && c.Unsettled == 0 {
			e.release(s.entry, now)
		}
	}
	e.ledger.whole.Flush(whole)
	b.C[telemetry.EgressFramesSent] += sent
	e.ledger.batched.Flush(&b.H[telemetry.StageBatch])
	b.H[telemetry.StageSend].RecordN(uint64(max(now-e.outbox.flushed, 0)), uint32(sent))
	b.Batch.Record(sent)
	b.Mark(telemetry.MarkBatch, sent)
	e.trace(int(sent), now)
	e.ledger.samples = e.ledger.samples[:0]
	e.ledger.units, e.ledger.next = e.ledger.units[:0], 0
	return n
}

// settleOther is settle for what is no single response. It returns how many responses were sent.
func (e *Shard) settleOther(s *sample, c *transport.Conn, now int64) uint64 {
	switch {
	case s.bytes&sampleRun != 0:
		c.Pin() // settleRun takes one back for each response
		return e.settleRun(s, c, now)
	case !c.TakeCredit(s.bytes & sampleLen):
		e.queueUnsent(s, now)
	case s.bytes&sampleTopic != 0:
		e.rec.B.C[telemetry.TopicDelivered]++
	}
	return 0
}

// queueUnsent queues a response whose bytes have not all left.
func (e *Shard) queueUnsent(s *sample, now int64) {
	u := transport.Unit{Len: s.bytes & sampleLen, Received: uint32(s.received >> receivedShift),
		Slot: s.bytes&sampleSlot != 0, Topic: s.bytes&sampleTopic != 0}
	s.bytes = 0 // not delivered yet
	e.queueUnit(s.entry, u, now)
}

// queueUnit queues a response whose bytes have not all left, or ends its connection.
func (e *Shard) queueUnit(entry uint32, u transport.Unit, now int64) {
	c := &e.table.conns[entry]
	c.Pin() // this connection may be the one that is ended; settle releases it
	for !c.QueueUnit(e.slab, u) {
		if c.UnitQueueFull(e.slab) {
			e.overflow(entry, u, transport.ReasonSlowHard, now)
			break
		}
		if c.Has(transport.StateClosing) || !e.endLargestBlocked(now) {
			e.overflow(entry, u, transport.ReasonShardBudget, now)
			break
		}
	}
	c.Unpin()
}

// receivedShift converts ns to the units of transport.Unit.Received.
const receivedShift = 10

// overflow ends a connection whose queue of unsent responses could not grow.
func (e *Shard) overflow(entry uint32, u transport.Unit, why transport.Reason, now int64) {
	c := &e.table.conns[entry]
	if !c.Has(transport.StateClosing) && e.err == nil {
		e.close(entry, why, now)
	}
	e.dropUnit(u, dropReason(c))
}

// countDelivered counts the queued responses that the sent bytes cover.
func (e *Shard) countDelivered(c *transport.Conn, now int64) {
	for {
		u, ok := c.TakeSent(e.slab)
		if !ok {
			return
		}
		if u.Topic {
			e.rec.B.C[telemetry.TopicDelivered]++
		}
		if u.Slot {
			e.rec.B.C[telemetry.EgressFramesSent]++
			age := uint32(now>>receivedShift) - u.Received
			e.rec.B.H[telemetry.StageWhole].Record(uint64(age) << receivedShift)
		}
	}
}
