package cluster

import (
	"log/slog"
	"time"

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
	nodes  int
	logged time.Time // of the last line; zero while the policy is not exposed
}

// look logs what has changed since the last look.
func (e *exposure) look(now time.Time, p durability.Policy) {
	switch class := p.Class(e.nodes); {
	case class != durability.Exposed:
		if !e.logged.IsZero() {
			e.log.Info("policy is not exposed any more", "policy", p.String(), "class", class.String())
		}
		e.logged = time.Time{}
	case e.logged.IsZero() || now.Sub(e.logged) >= exposedRemind:
		e.log.Warn("policy is exposed: "+class.Explain(), "policy", p.String(), "use",
			durability.Majority(e.nodes).String())
		e.logged = now
	}
}

// watchPolicy looks at the policy in force until the end.
func (m *Node[R, Q]) watchPolicy() {
	tick := time.NewTicker(exposedLook)
	defer tick.Stop()
	e := &exposure{log: m.log, nodes: len(m.members.Members)}
	for now := time.Now(); ; {
		e.look(now, m.period().Policy().Current())
		select {
		case <-m.ending.closing:
			return
		case now = <-tick.C:
		}
	}
}

// checkClass refuses an exposed policy unless it is forced.
func (m *Node[R, Q]) checkClass() error {
	c := &m.cfg.Node
	p, err := durability.Parse(c.Policy, c.Nodes)
	if err != nil || c.ForcePolicy {
		return err
	}
	return p.AtLeast(durability.CrashSafe, c.Nodes)
}
