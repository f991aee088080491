package cluster

import (
	"errors"
	"sync/atomic"
	"testing"

	"sluice/actors/node"
	"sluice/cmd/orderbook"
)

// A leader that cannot serve, for instance because clients have all descriptors, gives its leadership up
// and goes on following.
func TestLeaderThatCannotServeFollows(t *testing.T) {
	var full atomic.Bool
	c := newTrio(t, func(cfg *Config[orderbook.Report, orderbook.Answer]) {
		cfg.Node.BeforeClients = func(n node.Running) error {
			if full.Load() && n.(*period[orderbook.Report, orderbook.Answer]).member.members.Node == 1 {
				return errors.New("no descriptor is free")
			}
			return nil
		}
	})
	trader := c.trader(1)
	order(t, trader, 100)
	for c.leader() == 1 {
		_ = c.nodes[1].Transfer(0)
	}
	c.until("node 1 following", func() bool { return c.nodes[1].period().lead == nil })
	full.Store(true)
	term := c.nodes[1].Log().Term
	c.until("a leadership that was given up", func() bool {
		_ = c.nodes[c.leader()].Transfer(1)
		st := c.nodes[1].Log()
		return st.Term > term+1 && st.Leader > 1 || c.nodes[1].Err() != nil
	})
	order(t, trader, 101)
	if err := c.nodes[1].Err(); err != nil || c.nodes[1].period().lead != nil {
		t.Errorf("the member has ended: %v", err)
	}
	full.Store(false)
	c.agree()
}
