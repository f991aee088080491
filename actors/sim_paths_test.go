package actors

import (
	"math/bits"
	"slices"

	"sluice/actors/internal/run"
	"sluice/telemetry"
	"sluice/transport"
)

// topicStats counts what happened to topics; each count is above 0 after enough seeds.
type topicStats struct {
	Slots, Published, Delivered                             uint64
	SkippedGap, SkippedLatest, SkippedClosed, SkippedFailed uint64
	Joins, Leaves, Feedback, FeedbackFull                   uint64
	Gaps, Resyncs, Conflated, Resumes, ResumesRefused       uint64
	Mixed, Wraps, Grown, Overrun, SlowFeeds, HalfClosed     uint64
	LeftInFlight, ClosedInFlight, Remade, TapesFull, MidRow uint64
}

func (s *topicStats) fields() []namedCount {
	return []namedCount{
		{"TopicSlots", &s.Slots, false}, {"TopicPublished", &s.Published, false},
		{"TopicDelivered", &s.Delivered, false}, {"TopicSkippedGap", &s.SkippedGap, false},
		{"TopicSkippedLatest", &s.SkippedLatest, false}, {"TopicSkippedClosed", &s.SkippedClosed, false},
		{"TopicSkippedFailed", &s.SkippedFailed, false}, {"TopicJoins", &s.Joins, false},
		{"TopicLeaves", &s.Leaves, false}, {"TopicFeedback", &s.Feedback, false},
		{"TopicFeedbackFull", &s.FeedbackFull, true}, {"TopicGaps", &s.Gaps, false},
		{"TopicResyncs", &s.Resyncs, false}, {"TopicConflated", &s.Conflated, false},
		{"TopicResumes", &s.Resumes, false}, {"TopicResumesRefused", &s.ResumesRefused, false},
		{"TopicMixed", &s.Mixed, false}, {"TopicWraps", &s.Wraps, false}, {"TopicGrown", &s.Grown, false},
		{"TopicOverrun", &s.Overrun, false}, {"TopicSlowFeeds", &s.SlowFeeds, false},
		{"TopicHalfClosed", &s.HalfClosed, true}, {"TopicLeftInFlight", &s.LeftInFlight, false},
		{"TopicClosedInFlight", &s.ClosedInFlight, false}, {"TopicRemade", &s.Remade, false},
		{"TopicTapesFull", &s.TapesFull, false}, {"TopicMidRow", &s.MidRow, false},
	}
}

// simPaths is what a world has seen of the shards' topics, by shard.
type simPaths struct {
	feeds  []map[string]simTape
	before [4][64]simMember // by shard and table entry
	full   uint64           // times the encoder found a ring full
}

// simTape is what was seen of a feed last.
type simTape struct {
	tape    *transport.Tape
	size    int
	wrapped bool
}

// simMember is what was seen of a connection last.
type simMember struct{ overrun, left, closed bool }

// look counts which paths of the shards' topics were taken since the last look.
func (t *simTopics) look() {
	if len(t.topics) == 0 {
		return
	}
	s := &t.w.stats.Topic
	for i, e := range t.w.p.shards {
		if e.Untold() > 0 {
			s.FeedbackFull++
		}
		if len(t.paths.feeds) == i {
			t.paths.feeds = append(t.paths.feeds, map[string]simTape{})
		}
		seen := t.paths.feeds[i]
		e.Feeds(func(key string, tape *transport.Tape) {
			was, size := seen[key], tape.Size()
			now := simTape{tape: tape, size: size}
			if size > 0 {
				left := int(tape.Head() - tape.Tail())
				now.wrapped = left > 0 && len(tape.Run(e.Slab(), tape.Tail(), left)) < left
			}
			switch {
			case was.tape == nil:
			case was.tape != tape:
				s.Remade++
			case was.size > 0 && size > was.size:
				s.Grown++
			case now.wrapped && !was.wrapped:
				s.Wraps++
			}
			if size > 0 && size < t.w.p.cfg.Topics.TapeBytes && int64(e.TapeBytes()+size) > t.w.budget/2 {
				s.TapesFull++
			}
			if now != was {
				seen[key] = now
			}
		})
		for entry := range min(len(e.Table()), len(t.paths.before[i])) {
			sub, was := e.Subscription(entry), &t.paths.before[i][entry]
			closing := e.Table()[entry].Has(transport.StateClosing)
			now := simMember{overrun: sub.Overrun, left: sub.Moved && !closing, closed: sub.Sending && closing}
			count(&s.Overrun, now.overrun && !was.overrun)
			count(&s.LeftInFlight, now.left && !was.left)
			count(&s.ClosedInFlight, now.closed && !was.closed)
			*was = now
		}
	}
	t.midRow()
}

func count(n *uint64, happened bool) {
	if happened {
		*n++
	}
}

// midRow counts topic frames for which the ring of some shards had room, and that of another had none.
func (t *simTopics) midRow() {
	e := t.w.p.encoder
	if e.rec.B == nil { // it sleeps
		return
	}
	full := e.rec.B.C[telemetry.MailboxFull]
	if full == t.paths.full || slices.ContainsFunc(t.w.groups, func(g *simGroup) bool {
		return g.over && slices.Contains(g.group.Actors, run.Actor(e))
	}) {
		return
	}
	t.paths.full = full
	slots := e.slots.Batch(1)
	if len(slots) == 0 || slots[0].Kind != KindTopic || slots[0].overtaken {
		return
	}
	room, none := false, false
	for left := slots[0].topicShards() & (1<<len(e.shards) - 1); left != 0; left &= left - 1 {
		full := e.shards[bits.TrailingZeros64(left)].Claim(e.claim) == nil
		none = none || room && full
		room = room || !full
	}
	count(&t.w.stats.Topic.MidRow, none)
}
