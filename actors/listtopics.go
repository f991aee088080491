package actors

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"sluice/actors/internal/shard"
)

// TopicOrder is the order of a list of topics.
type TopicOrder uint8

const (
	BySubscribers TopicOrder = iota // most subscribers first
	ByRate                          // most frames a second first
	ByBehind                        // most bytes that the slowest subscriber was not sent first
	ByGaps                          // most gaps first
	ByMemory                        // most memory first
)

// String returns the text form.
func (o TopicOrder) String() string {
	switch o {
	case BySubscribers:
		return "subscribers"
	case ByRate:
		return "rate"
	case ByBehind:
		return "behind"
	case ByGaps:
		return "gaps"
	case ByMemory:
		return "memory"
	}
	return fmt.Sprintf("order(%d)", uint8(o))
}

// ParseTopicOrder parses subscribers, rate, behind, gaps or memory.
func ParseTopicOrder(text string) (TopicOrder, error) {
	for o := BySubscribers; o <= ByMemory; o++ {
		if o.String() == text {
			return o, nil
		}
	}
	return 0, fmt.Errorf("actors: order %q of topics is unknown; use subscribers, rate, behind, gaps or memory",
		text)
}

// TopicFigures is the state of a topic.
type TopicFigures struct {
	Topic       uint64
	Seq         uint64  // number of its last frame that reached a shard
	Shards      int     // shards that know it
	Subscribers int     // connections that are sent its frames
	Waiting     int     // connections that have lost frames of it and have no snapshot since
	Feeds       int     // sets of subscriptions with the topic, counted for each shard
	Rate        float64 // frames a second, in the last second or two
	Deliveries  float64 // Rate times Subscribers
	Gaps        uint64  // times that a subscriber lost frames, since the shards know the topic
	// LagBytes and LagFrames are what the subscriber that is furthest behind was not sent, of all its
	// topics, and with what a full tape has overwritten already.
	LagBytes  uint64
	LagFrames uint64
	Memory    int // bytes of its histories, and of its part of tapes
}

// rank is what the list is sorted by, highest first.
func (o TopicOrder) rank(f *TopicFigures) int64 {
	switch o {
	case ByRate:
		return int64(1000 * f.Rate)
	case ByBehind:
		return int64(f.LagBytes)
	case ByGaps:
		return int64(f.Gaps)
	case ByMemory:
		return int64(f.Memory)
	}
	return int64(f.Subscribers + f.Waiting)
}

// topicOf is the part of a topic on one shard.
func topicOf(f *shard.TopicFigures) TopicFigures {
	return TopicFigures{Topic: f.Topic, Seq: f.Seq, Shards: 1, Subscribers: f.Subscribers, Waiting: f.Waiting,
		Feeds: f.Feeds, Rate: f.Rate, Gaps: f.Gaps,
		LagBytes: f.LagBytes, LagFrames: f.LagFrames, Memory: f.Memory}
}

// add adds the part of another shard.
func (f *TopicFigures) add(of *TopicFigures) {
	f.Seq, f.Rate = max(f.Seq, of.Seq), max(f.Rate, of.Rate) // each shard takes every frame
	f.LagBytes, f.LagFrames = max(f.LagBytes, of.LagBytes), max(f.LagFrames, of.LagFrames)
	f.Shards += of.Shards
	f.Subscribers += of.Subscribers
	f.Waiting += of.Waiting
	f.Feeds += of.Feeds
	f.Gaps += of.Gaps
	f.Memory += of.Memory
}

// topicsMost is how many topics each shard reports for a list at least: that many make a list exact.
const topicsMost = 1000

// TopTopics returns the first n topics in an order, 1..MaxTop, and the number of topics that are
// known: those with subscribers, and those that lost their last one a short while ago. Like Top, it takes
// a few steps and is not of one instant. Of more than 1,000 topics, each shard reports its first 1,000:
// a topic far down the list may lack the figures of a shard, and the number be too low.
func (p *Pipeline[R, Q]) TopTopics(ctx context.Context, by TopicOrder, n int) (
	top []TopicFigures, known int, err error,
) {
	if n < 1 || n > MaxTop || by > ByMemory {
		return nil, 0, fmt.Errorf("actors: the first %d topics by %v; "+
			"use 1..%d, by subscribers, rate, behind, gaps or memory", n, by, MaxTop)
	}
	rank := func(f *shard.TopicFigures) int64 {
		of := topicOf(f)
		return by.rank(&of)
	}
	parts := make([]*shard.Listing, len(p.shards))
	for i := range parts {
		parts[i] = &shard.Listing{Done: make(chan struct{}), Topics: &shard.TopicListing{
			Topics: shard.Ranked[shard.TopicFigures]{Rank: rank,
				Top: make([]shard.TopicFigures, 0, max(n, topicsMost))}}}
	}
	if err := p.list(ctx, parts); err != nil {
		return nil, 0, err
	}
	at := map[uint64]int{}
	for _, part := range parts {
		known = max(known, part.Topics.Known)
		for i := range part.Topics.Topics.Top {
			f := topicOf(&part.Topics.Topics.Top[i])
			if k, ok := at[f.Topic]; ok {
				top[k].add(&f)
				continue
			}
			at[f.Topic] = len(top)
			top = append(top, f)
		}
	}
	known = max(known, len(top))
	for i := range top {
		top[i].Deliveries = top[i].Rate * float64(top[i].Subscribers)
	}
	slices.SortFunc(top, func(a, b TopicFigures) int {
		return cmp.Or(cmp.Compare(by.rank(&b), by.rank(&a)), cmp.Compare(a.Topic, b.Topic))
	})
	return top[:min(n, len(top))], known, nil
}
