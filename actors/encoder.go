package actors

import (
	"errors"
	"strings"
	"unsafe"

	"sluice/actors/internal/run"
	"sluice/actors/internal/shard"
	"sluice/encode"
	"sluice/mailbox"
	"sluice/telemetry"
	"sluice/transport"
)

// encoder encodes released slots as frames and routes each to the shard of its connection. It is
// the last reader of the slot ring. A slot's payload and its BatchEnd are one record: both are sent
// or neither is (I13).
type encoder[R, Q any] struct {
	slots  *mailbox.Reader[Slot[R, Q]]
	lane   *mailbox.Reader[laneEntry[R, Q]]
	shards []*mailbox.BytesWriter
	framer *encode.Framer[R, Q]
	claim  int // bytes of the largest record
	batch  int
	rec    *telemetry.Recorder
	errors encodeErrors
	runs   runs

	at      int    // index of the slot being encoded, in those that are encoded one by one
	apart   []bool // by shard: it runs on another goroutine
	waiting []int  // by shard: responses that are committed and not published

	frames, bytes uint64        // of this step, not counted yet
	times         telemetry.Run // of this step's slots, from release to encoding
}

// Name implements Actor.
func (e *encoder[R, Q]) Name() string { return "encode" }

// Step encodes at most one batch and publishes everything that is encoded. It implements Actor.
func (e *encoder[R, Q]) Step(now int64) int {
	n := e.encode(now)
	for i := range e.waiting {
		e.publish(i)
	}
	e.errors.lapse(now)
	return n
}

// Gather encodes at most one batch. Responses for a shard on this goroutine are published at once.
// A shard on another goroutine is woken only for many, because it flushes everything it finds. It
// implements run.Gatherer.
func (e *encoder[R, Q]) Gather(now int64) (work int, enough bool) {
	work = e.encode(now)
	for i, n := range e.waiting {
		if n >= publishLeast || !e.apart[i] {
			e.publish(i)
		}
	}
	return work, false
}

// publishLeast is the number of responses for which a shard on another goroutine is woken while
// more are being encoded.
const publishLeast = 8192

// publish publishes the responses of a shard.
func (e *encoder[R, Q]) publish(to int) {
	if e.waiting[to] > 0 {
		e.shards[to].Publish()
		e.waiting[to] = 0
	}
}

// encode encodes at most one batch.
//
// The gate publishes a lane entry before it releases any slot beyond it. Therefore the ring's limit
// is read first, then the lane: every entry that belongs before a slot of this batch is visible.
func (e *encoder[R, Q]) encode(now int64) int {
	e.rec.Poll()
	slots := e.slots.Batch(e.batch)
	e.rec.B.Mark(telemetry.MarkInbox, uint64(len(slots)))
	entries := e.lane.Batch(e.batch)
	base := e.slots.Position()
	taken, next, n := 0, 0, 0 // next is an index into entries
	full := false
	for !full {
		for next < len(entries) && entries[next].after <= base+uint64(n) {
			ahead := &entries[next]
			if full = e.row(unsafe.Slice(&ahead.slot, 1), ahead.position, now) == 0; full {
				break
			}
			taken++
			// More may follow: the batch was full, or the lane wraps here.
			if next++; next == len(entries) {
				entries, next = e.lane.Ahead(taken, e.batch), 0
			}
		}
		if full || n == len(slots) {
			break
		}
		row := slots[n:]
		if next < len(entries) {
			row = row[:min(uint64(len(row)), entries[next].after-base-uint64(n))]
		}
		done := e.row(row, base+uint64(n), now)
		n += done
		full = done < len(row)
	}
	if taken > 0 {
		e.lane.Release(taken)
	}
	if n > 0 {
		e.slots.Release(n)
	}
	if full {
		e.rec.B.C[telemetry.MailboxFull]++
		for i := range e.waiting {
			e.publish(i) // only what is published can make room
		}
	}
	work := max(taken+n, int(e.frames))
	e.count()
	return work
}

// count adds the step's frames to the telemetry.
func (e *encoder[R, Q]) count() {
	e.rec.B.C[telemetry.EncodeFrames] += e.frames
	e.rec.B.C[telemetry.EncodeBytes] += e.bytes
	e.frames, e.bytes = 0, 0
	e.times.Flush(&e.rec.B.H[telemetry.StageEncode])
}

// row encodes slots that follow each other in the ring and returns how many it is done with: fewer than
// all if a shard's ring is full.
func (e *encoder[R, Q]) row(slots []Slot[R, Q], position uint64, now int64) (done int) {
	for done < len(slots) {
		if e.runs.row == 0 {
			n := e.single(slots[done:])
			e.at = 0
			for e.guarded(slots[done:done+n], position+uint64(done), now) {
			}
			if done += e.at; e.at < n || done == len(slots) {
				break
			}
			e.group(slots[done:])
		}
		n := e.runs.row
		if !e.grouped(slots[done:], position+uint64(done), now) {
			break
		}
		done += n
	}
	return done
}

// guarded encodes slots one by one from slot e.at on. A panic of the application's encoder ends it after the
// slot that caused it, whose response has failed; it then returns true, and the rest
// remains to be encoded. One guard for a row costs next to nothing; one for each slot would cost as
// much as the encoding.
func (e *encoder[R, Q]) guarded(slots []Slot[R, Q], position uint64, now int64) (panicked bool) {
	defer func() {
		if err := e.framer.Caught(recover()); err != nil {
			// This uses the room that was claimed for the slot.
			e.one(&slots[e.at], position+uint64(e.at), now, err)
			e.at++
			panicked = true
		}
	}()
	for ; e.at < len(slots); e.at++ {
		s := &slots[e.at]
		if s.overtaken {
			s.overtaken = false // the producer gets the slot back as it was
		} else if !e.one(s, position+uint64(e.at), now, nil) {
			break
		}
	}
	return false
}

// one encodes s into its shard's ring. It returns false if the ring is full, and then has done
// nothing. A response that failed before is not encoded again.
func (e *encoder[R, Q]) one(s *Slot[R, Q], position uint64, now int64, failed error) bool {
	if s.Kind == KindTopic {
		return e.topic(s, position, now, failed)
	}
	hash, to := transport.Hash(s.Conn), 0
	if len(e.shards) > 1 {
		to = transport.Shard(hash, len(e.shards))
	}
	w := e.shards[to]
	room := w.Claim(e.claim)
	if room == nil {
		return false
	}
	r := shard.RecordIn(room)
	r.Conn, r.Hash, r.Position, r.Seq, r.Received = s.Conn, hash, position, uint64(s.Seq), s.Received
	r.Matched, r.Consumed = shard.Since(s.Received, s.Matched), shard.Since(s.Received, s.consumed)
	r.Opened, r.Encoded = shard.Since(s.Received, s.opened), shard.Since(s.Received, now)
	r.Crossed = 0
	if s.crossed != 0 {
		r.Crossed = shard.Since(s.Received, s.crossed)
	}
	flags := uint32(s.Kind)<<shard.RecordKind | uint32(s.traced)<<shard.RecordReason |
		uint32(s.waits)&(0xf<<shard.RecordWaits)
	if s.Last || s.Kind == KindBatchEnd {
		flags |= shard.RecordLast
	}
	var frames []byte
	err := failed
	if dst := room[shard.RecordBytes:shard.RecordBytes]; err != nil {
		// The application's encoder is not called a second time.
	} else if s.Kind == KindReport {
		frames, err = e.framer.Report(dst, &s.Report, s.Last, s.Request)
	} else {
		frames, err = e.rare(s, dst)
	}
	if err != nil {
		frames = nil
		flags = flags&^shard.RecordLast | shard.RecordFailed
		e.failed(s.Conn, err, now)
	}
	size := shard.RecordBytes + len(frames)
	if err != nil {
		size += copy(room[size:len(room)-shard.ParentBytes], failure(err))
	}
	if s.Kind >= KindSnapshotEnd {
		topic, seq, _, mode := s.subscription()
		shard.PutSubscription(room[size:], topic, seq, mode)
		size += shard.SubscriptionBytes
	} else if s.traced != telemetry.TraceReasonNone && s.Parent != (telemetry.Parent{}) &&
		s.Kind != KindSnapshotBegin {
		flags |= shard.RecordParent
		s.Parent.Put(room[size:])
		size += shard.ParentBytes
	}
	r.Flags = flags
	w.Commit(size)
	e.waiting[to]++
	e.frames++
	e.bytes += uint64(len(frames))
	e.times.Add(&e.rec.B.H[telemetry.StageEncode], uint64(max(now-s.opened, 0)))
	return true
}

// stamp writes the times of a slot into its record and returns the record's flags.
func (s *Slot[R, Q]) stamp(r *shard.Record, now int64) (flags uint32) {
	r.Matched, r.Consumed = shard.Since(s.Received, s.Matched), shard.Since(s.Received, s.consumed)
	r.Opened, r.Encoded = shard.Since(s.Received, s.opened), shard.Since(s.Received, now)
	r.Crossed = 0
	if s.crossed != 0 {
		r.Crossed = shard.Since(s.Received, s.crossed)
	}
	return uint32(s.Kind)<<shard.RecordKind | uint32(s.traced)<<shard.RecordReason |
		uint32(s.waits)&(0xf<<shard.RecordWaits)
}

// rare appends the frames of a slot that is not a report to dst.
func (e *encoder[R, Q]) rare(s *Slot[R, Q], dst []byte) ([]byte, error) {
	switch s.Kind {
	case KindQuery:
		return e.framer.Query(dst, &s.Query, s.Last, s.Request)
	case KindEngineError:
		dst = e.framer.Refuse(dst, s.Request, s.Refusal)
		if s.Last {
			dst = e.framer.End(dst, s.Request)
		}
		return dst, nil
	case KindBatchEnd:
		return e.framer.End(dst, s.Request), nil
	case KindSnapshotBegin, KindSnapshotEnd, KindResume, KindLeave:
		return e.subscription(s, dst), nil
	}
	panic("actors: slot of an unknown kind; set Slot.Kind to one of the Kind constants")
}

// failure is the text of an error of the application's encoder, for the notice.
func failure(err error) string {
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), failureBytes)], "")
}

// failureBytes is what a notice has of an error at most.
const failureBytes = 200

// failed counts a response that could not be encoded. Its connection ends, in order, after the
// responses before it (R17).
func (e *encoder[R, Q]) failed(conn uint64, err error, now int64) {
	e.countFailed(err)
	e.errors.report(conn, err, now)
}

// countFailed counts an error of the application's encoder by its kind.
func (e *encoder[R, Q]) countFailed(err error) {
	var panicked *encode.PanicError
	var large *encode.TooLargeError
	c := &e.rec.B.C
	switch {
	case errors.As(err, &panicked):
		c[telemetry.EncodePanics]++
	case errors.As(err, &large):
		c[telemetry.EncodeOversized]++
	default:
		c[telemetry.EncodeErrors]++
	}
}

// Recorder implements Actor.
func (e *encoder[R, Q]) Recorder() *telemetry.Recorder { return e.rec }

// Park implements Actor.
func (e *encoder[R, Q]) Park() { e.rec.Park() }

// Unpark implements Actor.
func (e *encoder[R, Q]) Unpark() { e.rec.Unpark() }

// Done implements Actor: the gate has ended, and everything it released is encoded. The lane is
// checked first, because the gate releases before it closes the lane.
func (e *encoder[R, Q]) Done() bool { return e.lane.Done() && e.slots.Len() == 0 }

// Close ends the shards' frame rings. It implements Actor.
func (e *encoder[R, Q]) Close() error {
	for _, w := range e.shards {
		w.Close()
	}
	e.rec.Park()
	return nil
}

// leftover counts what a failed pipeline left unencoded. It runs after every goroutine has ended.
func (e *encoder[R, Q]) leftover() {
	defer run.Unparked(e.rec)()
	e.errors.flush()
	e.rec.B.C[telemetry.DropFenced.Counter()] += e.dropped()
	for slots := e.slots.Batch(e.batch); len(slots) > 0; slots = e.slots.Batch(e.batch) {
		for i := range slots {
			if !slots[i].overtaken && slots[i].Kind != KindTopic {
				e.rec.B.C[telemetry.DropFenced.Counter()]++
			}
		}
		e.slots.Release(len(slots))
	}
	for entries := e.lane.Batch(e.batch); len(entries) > 0; entries = e.lane.Batch(e.batch) {
		e.rec.B.C[telemetry.DropFenced.Counter()] += uint64(len(entries))
		e.lane.Release(len(entries))
	}
}
