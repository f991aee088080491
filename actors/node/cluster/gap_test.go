package cluster

import (
	"sync/atomic"
	"testing"

	"sluice/actors/node"
	"sluice/cmd/orderbook"
)

// A leadership that is lost: the next period begins before the node of the leader has ended, so that a client that
// comes meanwhile is directed at once.
func TestNextPeriodBeginsBeforeALostLeaderEnds(t *testing.T) {
	var leader atomic.Pointer[period[orderbook.Report, orderbook.Answer]]
	var early, late atomic.Int64
	c := newTrio(t, func(cfg *Config[orderbook.Report, orderbook.Answer]) {
		cfg.Node.BeforeClients = func(n node.Running) error {
			was := leader.Load()
			if was == nil || n.(*period[orderbook.Report, orderbook.Answer]).member != was.member {
				return nil
			}
			select {
			case <-was.Ended():
				late.Add(1)
			default:
				early.Add(1)
			}
			return nil
		}
	})
	order(t, c.trader(1), 100)
	c.until("the loss of a leadership", func() bool {
		m := c.nodes[c.leader()]
		if p := m.now.Load(); p.lead != nil && early.Load()+late.Load() == 0 {
			leader.Store(p)
			m.raft.Transfer(0) // without its node
		}
		return early.Load()+late.Load() > 0
	})
	if late.Load() > 0 {
		t.Error("the node of the leader had ended when the next period began")
	}
	c.agree()
}
