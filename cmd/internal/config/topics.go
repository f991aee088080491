package config

import (
	"math/bits"

	"sluice/actors"
	"sluice/actors/sequencer"
	"sluice/transport"
)

// Topics bounds what clients may subscribe to, and what is kept for them.
type Topics struct {
	MaxTopics        int   // that have subscribers
	MaxSubscriptions int   // of a connection
	TopicTape        int64 // bytes that a subscriber may be behind
	TopicHistory     int64 // bytes of a topic that are kept for subscribers that come back
}

func defaultTopics() Topics {
	return Topics{MaxTopics: sequencer.DefaultMaxTopics, MaxSubscriptions: sequencer.DefaultMaxSubscriptions,
		TopicTape: actors.DefaultTapeBytes, TopicHistory: actors.DefaultHistoryBytes}
}

// settings are the group Topics of the help text.
func (t *Topics) settings() []Setting {
	return []Setting{
		{Name: "max-topics", Value: Count(&t.MaxTopics, 1, 1<<24, false),
			Help: "let clients subscribe to at most N different topics"},
		{Name: "max-subscriptions", Value: Count(&t.MaxSubscriptions, 1, 1<<20, false),
			Help: "let each client subscribe to at most N topics"},
		{Name: "topic-tape", Value: Size(&t.TopicTape, 4<<10, transport.SegmentMax),
			Help: "let a subscriber be this size of topic frames behind, rounded up to a power of two; " +
				"memory for each combination of topics that clients of a shard subscribe to, while one is behind"},
		{Name: "topic-history", Value: Size(&t.TopicHistory, 4<<10, transport.SegmentMax),
			Help: "keep this size of frames of each topic on each shard, rounded up to a power of two, for " +
				"subscribers that reconnect"},
	}
}

// Pipeline returns the limits in the form of the response pipeline.
func (t *Topics) Pipeline() actors.TopicConfig {
	return actors.TopicConfig{TapeBytes: power(t.TopicTape), HistoryBytes: power(t.TopicHistory),
		MaxTopics: t.MaxTopics, MaxSubscriptions: t.MaxSubscriptions}
}

// power is the smallest power of two that is at least n.
func power(n int64) int { return 1 << bits.Len64(uint64(n-1)) }
