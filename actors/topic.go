package actors

import (
	"encoding/binary"
	"fmt"

	"sluice/actors/internal/shard"
	"sluice/encode"
	"sluice/mailbox"
	"sluice/telemetry"
	"sluice/transport"
)

// Mode is what happens to a subscriber that reads so slowly that topic frames are overwritten before
// they were sent to it.
type Mode = shard.Mode

const (
	ModeRecover = shard.ModeRecover // it gets a Gap and, once it reads, a new snapshot
	ModeEvery   = shard.ModeEvery   // it is closed
	ModeLatest  = shard.ModeLatest  // it gets the newest frame of each key
)

// ParseMode parses recover, every or latest.
func ParseMode(text string) (Mode, error) {
	for m := ModeRecover; m <= ModeLatest; m++ {
		if m.String() == text {
			return m, nil
		}
	}
	return 0, fmt.Errorf("actors: mode %q of a subscription is unknown; use recover, every or latest", text)
}

// Feedback is what a shard reports to the producer about subscribers, see NewFeedback.
type Feedback = shard.Feedback

// FeedbackKind is what a Feedback reports.
type FeedbackKind = shard.FeedbackKind

const (
	// FeedbackGone reports that Conn has no subscriptions any more: it is closed, or closing, or its
	// client sends nothing more. It may come more than once.
	FeedbackGone = shard.FeedbackGone
	// FeedbackResync reports that Conn needs a snapshot of Topic: KindSnapshotBegin, slots that
	// describe the topic, KindSnapshotEnd with Mode. Until then it gets no frame of the topic.
	FeedbackResync = shard.FeedbackResync
)

// feedbackEntries is the capacity of a shard's list of feedback. What has no room waits in the shard.
const feedbackEntries = 1024

// NewFeedback returns the ends of the lists on which shards report about subscribers, one for each
// shard: the first are for Config.Feedback, the second for the producer, who sets their signals. It
// must read them, in any order. A producer that gives the id of a connection to a later one reads
// everything that is reported about the earlier one before it subscribes the later one.
func NewFeedback(shards int) ([]*mailbox.Writer[Feedback], []*mailbox.Reader[Feedback]) {
	writers := make([]*mailbox.Writer[Feedback], shards)
	readers := make([]*mailbox.Reader[Feedback], shards)
	for i := range writers {
		writers[i], readers[i] = mailbox.NewSPSC[Feedback](feedbackEntries)
	}
	return writers, readers
}

// ShardOf is the shard that sends to a connection, out of the number of shards of the pipeline.
func ShardOf(conn uint64, shards int) int {
	if shards == 1 {
		return 0
	}
	return transport.Shard(transport.Hash(conn), shards)
}

// SetTopic makes the slot a frame for all subscribers of a topic, which the producer then writes into
// Report. seq is the number of the frame within its topic, one more than that of the frame before it.
// Of frames with the same key, a subscriber in ModeLatest may get the last one only. shards has a bit
// for each shard with subscribers, bit 0 for shard 0, and is not 0. It overwrites Conn, Request,
// Kind, Last and Parent.
func (s *Slot[R, Q]) SetTopic(topic, seq, key, shards uint64) {
	s.Kind, s.Last, s.Conn, s.Request, s.Parent = KindTopic, false, topic, seq, telemetry.Parent{}
	binary.LittleEndian.PutUint64(s.Parent.TraceID[:], key)
	binary.LittleEndian.PutUint64(s.Parent.TraceID[8:], shards)
}

// topicKey and topicShards are what SetTopic was given.
func (s *Slot[R, Q]) topicKey() uint64    { return binary.LittleEndian.Uint64(s.Parent.TraceID[:]) }
func (s *Slot[R, Q]) topicShards() uint64 { return binary.LittleEndian.Uint64(s.Parent.TraceID[8:]) }

// SetSubscription makes the slot one of the kinds from KindSnapshotBegin to KindLeave, for Conn. seq
// is the number of the last topic frame that Conn has, or that the snapshot contains; epoch is that of
// the topic, for KindSnapshotBegin; mode is for KindSnapshotEnd and KindResume. It overwrites Kind,
// Refusal and Parent.
func (s *Slot[R, Q]) SetSubscription(kind Kind, topic, seq, epoch uint64, mode Mode) {
	s.Kind, s.Refusal, s.Parent = kind, encode.Refusal(mode), telemetry.Parent{}
	binary.LittleEndian.PutUint64(s.Parent.TraceID[:], topic)
	binary.LittleEndian.PutUint64(s.Parent.TraceID[8:], seq)
	binary.LittleEndian.PutUint64(s.Parent.Span[:], epoch)
}

// subscription returns what SetSubscription was given.
func (s *Slot[R, Q]) subscription() (topic, seq, epoch uint64, mode Mode) {
	le := binary.LittleEndian
	return le.Uint64(s.Parent.TraceID[:]), le.Uint64(s.Parent.TraceID[8:]),
		le.Uint64(s.Parent.Span[:]), Mode(s.Refusal)
}
