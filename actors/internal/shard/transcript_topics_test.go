package shard

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"strings"

	"sluice/actors/internal/transcript"
	"sluice/telemetry"
	"sluice/transport"
)

// appendTopic puts a record of a topic into the inbox, as the encoder does.
func (s *script) appendTopic(line *transcript.Line) {
	topic, seq := uint64(line.Number("topic", 0)), uint64(line.Number("seq", 0))
	size, client := line.Number("size", 0), uint64(line.Number("client", 0))
	r := Record{Conn: client, Hash: transport.Hash(client), Position: s.position, Received: s.now}
	room := s.frames.Claim(RecordBytes + size + max(TopicBytes, SubscriptionBytes))
	end := RecordBytes + size
	switch line.Name() {
	case "publish":
		r.Conn, r.Hash, r.Flags = topic, uint64(line.Number("key", 0)), KindTopic<<RecordKind
		if line.Has("failed") {
			r.Flags |= RecordFailed
		}
		binary.LittleEndian.PutUint64(room[end:], seq)
		end += TopicBytes
	default:
		kind := uint32(KindSnapshotEnd)
		switch line.Name() {
		case "resume":
			kind = KindResume
		case "leave":
			kind = KindLeave
		}
		var mode Mode
		for name := cmp.Or(line.Text("mode"), "recover"); mode.String() != name; {
			if mode++; mode > ModeLatest {
				s.t.Fatalf("unknown mode %q", name)
			}
		}
		r.Flags = kind << RecordKind
		PutSubscription(room[end:], topic, seq, mode)
		end += SubscriptionBytes
	}
	*RecordIn(room) = r
	s.frames.Commit(end)
	s.position++
}

// showFeedback shows what the shard reports to the producer of topics.
func (s *script) showFeedback() {
	for _, fb := range s.feedback.Batch(64) {
		if fb.Kind == FeedbackGone {
			s.kernel.show("feedback: client %d has no subscriptions any more", fb.Conn)
		} else {
			s.kernel.show("feedback: client %d needs a snapshot of topic %d (%v)", fb.Conn, fb.Topic, fb.Mode)
		}
		s.feedback.Release(1)
	}
}

// topicLedger shows what became of topic frames, if there were any.
func topicLedger(b *strings.Builder, counters *[telemetry.NumCounters]uint64) {
	for _, c := range []struct {
		name string
		at   telemetry.Counter
	}{
		{"topic frames for subscribers", telemetry.TopicPublished}, {"delivered", telemetry.TopicDelivered},
		{"copied", telemetry.TopicMixed}, {"skipped, gap", telemetry.TopicSkippedGap},
		{"skipped, latest", telemetry.TopicSkippedLatest}, {"skipped, closed", telemetry.TopicSkippedClosed},
		{"skipped, failed", telemetry.TopicSkippedFailed}, {"gaps", telemetry.TopicGaps},
		{"snapshots requested", telemetry.TopicResyncs},
	} {
		if n := counters[c.at]; n > 0 {
			fmt.Fprintf(b, "%s: %d\n", c.name, n)
		}
	}
}
