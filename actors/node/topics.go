package node

import (
	"sluice/actors"
	"sluice/actors/sequencer"
)

// topics lets clients subscribe, if the application has topics.
func (n *Node[R, Q]) topics(sc *sequencer.Config[R, Q], pc *actors.Config) {
	if _, ok := n.app.(sequencer.Publisher[R, Q]); !ok {
		return
	}
	c := &n.cfg.Pipeline.Topics
	sc.Topics = sequencer.Topics{Epoch: c.Epoch(), MaxTopics: c.MaxTopics,
		MaxSubscriptions: c.MaxSubscriptions, Linger: c.Linger}
	pc.Feedback, sc.Topics.Feedback = actors.NewFeedback(pc.Shards)
}
