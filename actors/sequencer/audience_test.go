package sequencer

import "testing"

// What is published matters only if a topic is live, so that is when an emitter is Subscribed.
func TestAudienceKnowsOfLiveTopics(t *testing.T) {
	e := emitter[report, report]{topics: &topics{live: map[uint64]*topic{}}}
	var a Audience = &e
	if a.Subscribed() {
		t.Error("an emitter without live topics is subscribed")
	}
	e.topics.live[7] = &topic{id: 7}
	if !a.Subscribed() {
		t.Error("an emitter with a live topic is not subscribed")
	}
	if a = (&replayed[report, report]{}); a.Subscribed() {
		t.Error("a replay is subscribed")
	}
}
