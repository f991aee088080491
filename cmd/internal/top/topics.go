package top

import (
	"fmt"

	"sluice/actors/node/observe/status"
)

// topics sums up all topics in one line, and lists those with most subscribers, at most that many.
func (p *painter) topics(most int) {
	if p.s.Topics == 0 {
		return
	}
	text := fmt.Sprintf("topics: %s, %s, %s frames/s, %s deliveries/s", whole(float64(p.s.Topics)),
		count(int(p.s.Subscriptions), "subscription"), rate(p.now.Topics), rate(p.now.Delivered))
	if p.now.Gaps > 0 {
		text += ", " + p.paint(rate(p.now.Gaps)+" gaps/s", gold)
	}
	p.line(text)
	if len(p.s.Busiest) == 0 || most <= 0 {
		return
	}
	p.line(p.paint(fmt.Sprintf("%-16s %7s %9s %12s %9s %7s %9s", "topic", "clients", "frames/s",
		"deliveries/s", "slowest", "gaps", "memory"), bold))
	for _, x := range p.s.Busiest[:min(most, len(p.s.Busiest))] {
		p.line(topicRow(&x))
	}
}

func topicRow(x *status.Topic) string {
	return fmt.Sprintf("%-16s %7s %9s %12s %9s %7s %9s", x.Label(), whole(float64(x.Subscribers+x.Waiting)),
		rate(x.Frames), rate(x.Deliveries), size(float64(x.Behind)), whole(float64(x.Gaps)),
		size(float64(x.Memory)))
}
