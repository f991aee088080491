package top

import (
	"fmt"

	"sluice/actors/node"
	"sluice/actors/node/observe/status"
)

// members is the cluster of a member: what this one is, and the others.
func (p *painter) members() {
	c := p.s.Cluster
	if c == nil {
		return
	}
	how := []string{}
	if c.Unready != "" || c.Class == "exposed" {
		how = append(how, gold)
	}
	leader := "no leader"
	if c.Leader != 0 {
		leader = fmt.Sprintf("leader %d", c.Leader)
	}
	text := fmt.Sprintf("node %d: %s, term %d, %s for %s, class %s", c.Node, c.State, c.Term, leader, status.Span(c.Since),
		c.Class)
	if c.Lag > 0 {
		text += fmt.Sprintf(", %s behind", count(int(c.Lag), "event"))
	}
	for i := range c.Members {
		text += "; " + memberText(c, &c.Members[i])
	}
	p.wrap(text, 2, how...)
}

// memberText is what is known of one member in a few words.
func memberText(c *node.Cluster, x *node.ClusterMember) string {
	text := fmt.Sprintf("node %d %s", x.Node, x.State)
	if x.Node == c.Node {
		text = "its disk"
	}
	if x.Lag != nil {
		text += ", lag " + whole(float64(*x.Lag))
	}
	if x.Disk != nil {
		text += " " + status.Span(*x.Disk)
	}
	if x.Link != "" && x.Link != "up" {
		text += ", " + x.Link
	}
	return text
}
