package status

import (
	"context"
	"fmt"
	"time"

	"sluice/actors"
	"sluice/actors/node"
)

// Topic is a topic with subscribers, or one that lost its last one a short while ago.
type Topic struct {
	ID          uint64  `json:"id,string"`
	Name        string  `json:"name"`              // of the application; empty if it gives none
	Subscribers int     `json:"subscribers"`       // connections that are sent its frames
	Waiting     int     `json:"waiting"`           // connections that lost frames and have no new snapshot yet
	Frames      float64 `json:"frames_per_second"` // in the last second or two
	Deliveries  float64 `json:"deliveries_per_second"`
	Behind      uint64  `json:"behind_bytes"` // that the slowest subscriber was not sent, of all its topics
	BehindBy    uint64  `json:"behind_frames"`
	Gaps        uint64  `json:"gaps"`         // times that a subscriber lost frames
	Feeds       int     `json:"feeds"`        // sets of subscriptions with the topic, for each shard
	Memory      int     `json:"memory_bytes"` // of its history and its part of tapes
	Seq         uint64  `json:"topic_seq"`    // of the last frame
}

// Label is the name of the topic, or its number.
func (t *Topic) Label() string {
	if t.Name != "" {
		return t.Name
	}
	return fmt.Sprint(t.ID)
}

// Topics lists the first topics of a node in an order, 1..actors.MaxTop, and says how many it knows.
func Topics(ctx context.Context, n node.Running, by actors.TopicOrder, most int) (list []Topic, known int,
	err error) {
	top, known, err := n.TopTopics(ctx, by, most)
	list = make([]Topic, 0, len(top))
	for _, f := range top {
		list = append(list, Topic{ID: f.Topic, Name: n.TopicName(f.Topic), Subscribers: f.Subscribers,
			Waiting: f.Waiting, Frames: f.Rate, Deliveries: f.Deliveries, Behind: f.LagBytes,
			BehindBy: f.LagFrames, Gaps: f.Gaps, Feeds: f.Feeds, Memory: f.Memory, Seq: f.Seq})
	}
	return list, known, err
}

// topicsMost is the number of topics in a Snapshot.
const topicsMost = 8

// topics lists the topics with most subscribers, at most once a second for all readers. It asks no
// shard if no topic has a subscriber.
func (w *Watcher) topics(ctx context.Context, now time.Time, some bool) []Topic {
	w.slowMu.Lock()
	defer w.slowMu.Unlock()
	if now.Sub(w.topicsAt) < listEvery {
		return w.busiest
	}
	if !some {
		w.busiest = []Topic{}
		return w.busiest
	}
	if list, _, err := Topics(ctx, w.node, actors.BySubscribers, topicsMost); err == nil {
		w.topicsAt, w.busiest = now, list
	} // else the list is as old as it was
	return w.busiest
}
