package cluster

import (
	"log/slog"
	"time"

	"sluice/actors/node"
	"sluice/durability"
)

// Times of the watch over the class of the policy.
const (
	exposedLook   = time.Second // between two looks
	exposedRemind = time.Hour   // between two lines while the policy stays exposed
)

// exposure logs that the policy in force is exposed. One goroutine uses it.
type exposure struct {
	log    *slog.Logger
	nodes  func() int // voters
	logged time.Time  // of the last line; zero while the policy is not exposed
}

// look logs what has changed since the last look.
func (e *exposure) look(now time.Time, p durability.Policy) {
	switch class := p.Class(e.nodes()); {
	case class != durability.Exposed:
		if !e.logged.IsZero() {
			e.log.Info("policy is not exposed any more", "policy", p.String(), "class", class.String())
		}
		e.logged = time.Time{}
	case e.logged.IsZero() || now.Sub(e.logged) >= exposedRemind:
		e.log.Warn("policy is exposed: "+class.Explain(), "policy", p.String(), "use",
			durability.Majority(e.nodes()).String())
		e.logged = now
	}
}

// watchPolicy looks at the policy in force until the end.
func (m *Node[R, Q]) watchPolicy() {
	tick := time.NewTicker(exposedLook)
	defer tick.Stop()
	e := &exposure{log: m.log, nodes: m.voters}
	for now := time.Now(); ; {
		e.look(now, m.policy(m.period()))
		select {
		case <-m.ending.closing:
			return
		case now = <-tick.C:
		}
	}
}

// policy is the policy in force: the one by which this member releases if it leads, else that of the log as far
// as this member has applied it.
func (m *Node[R, Q]) policy(p *period[R, Q]) durability.Policy {
	if of := m.machine.policy.Load(); p.lead == nil && of != nil {
		return *of
	}
	return p.Policy().Current()
}

// checkClass refuses an exposed policy unless it is forced.
func (m *Node[R, Q]) checkClass() error {
	c := &m.cfg.Node
	if c.Policy == "" {
		return nil
	}
	p, err := durability.Parse(c.Policy, m.voters())
	if err != nil || c.ForcePolicy {
		return err
	}
	return p.AtLeast(durability.CrashSafe, m.voters())
}

// choosePolicy completes the configuration of a period: that of a majority is the default, and one that needs
// more voters than there are at the moment does not end the period.
func (m *Node[R, Q]) choosePolicy(c *node.Config[R, Q]) {
	c.Nodes = m.voters()
	if c.Policy == "" {
		c.Policy = durability.Majority(c.Nodes).String()
	} else if _, err := durability.Parse(c.Policy, c.Nodes); err != nil {
		c.Nodes = durability.MaxNodes
	}
}
