package actors

import (
	"encoding/binary"
	"math/bits"

	"sluice/actors/internal/shard"
	"sluice/encode"
	"sluice/telemetry"
)

// topic encodes a topic frame once, and copies the record into the ring of each shard that has
// subscribers. It returns false if one of them is full, and then has done nothing. If the frame
// failed, which may be known before, its subscribers get none, and the shards make up for it.
func (e *encoder[R, Q]) topic(s *Slot[R, Q], position uint64, now int64, failed error) bool {
	shards := s.topicShards() & (1<<len(e.shards) - 1)
	for left := shards; left != 0; left &= left - 1 {
		if e.shards[bits.TrailingZeros64(left)].Claim(e.claim) == nil {
			return false
		}
	}
	if shards == 0 {
		return true
	}
	room := e.shards[bits.TrailingZeros64(shards)].Claim(e.claim)
	r := shard.RecordIn(room)
	r.Conn, r.Hash, r.Position, r.Seq, r.Received = s.Conn, s.topicKey(), position, uint64(s.Seq), s.Received
	r.Flags = s.stamp(r, now)
	var frame []byte
	err := failed
	if err == nil {
		frame, err = e.framer.Topic(room[shard.RecordBytes:shard.RecordBytes], s.Conn, s.Request, &s.Report)
	}
	if err != nil {
		frame = nil
		r.Flags |= shard.RecordFailed
		e.countFailed(err)
		e.errors.topic(s.Conn, err, now)
	}
	size := shard.RecordBytes + len(frame)
	binary.LittleEndian.PutUint64(room[size:], s.Request)
	size += shard.TopicBytes
	for left := shards; left != 0; left &= left - 1 {
		to := bits.TrailingZeros64(left)
		copy(e.shards[to].Claim(e.claim), room[:size])
		e.shards[to].Commit(size)
		e.waiting[to]++
	}
	e.rec.B.C[telemetry.EncodeTopics]++
	e.bytes += uint64(len(frame))
	e.times.Add(&e.rec.B.H[telemetry.StageEncode], uint64(max(now-s.opened, 0)))
	return true
}

// subscription appends the frames of a slot that begins or ends something about a subscription.
func (e *encoder[R, Q]) subscription(s *Slot[R, Q], dst []byte) []byte {
	c := encode.Control{Kind: encode.ControlSnapshotBegin}
	switch c.Topic, c.TopicSeq, c.Epoch, _ = s.subscription(); s.Kind {
	case KindSnapshotEnd:
		c.Kind = encode.ControlSnapshotEnd
		fallthrough
	case KindSnapshotBegin:
		dst = e.framer.Framing().AppendControl(dst, c)
	}
	if s.Last {
		dst = e.framer.End(dst, s.Request)
	}
	return dst
}

// The shards know the kinds by their numbers.
var _ = [1]struct{}{}[KindTopic-shard.KindTopic+(KindLeave-shard.KindLeave)]
