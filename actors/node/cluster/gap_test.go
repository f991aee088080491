package cluster

import (
	"errors"
	"strings"
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

// An operator who asks a member that was elected, before its server has begun, is not sent to another one.
func TestElectedMemberBeginsToLead(t *testing.T) {
	said := make(chan error, 1)
	c := newTrio(t, func(cfg *Config[orderbook.Report, orderbook.Answer]) {
		steady(cfg)
		cfg.Node.BeforeClients = func(n node.Running) error {
			p := n.(*period[orderbook.Report, orderbook.Answer])
			if p.lead == nil {
				return nil
			}
			m := p.member
			_, _, policy := m.SwapPolicy(t.Context(), "persisted>=1", false)
			_, member := m.Change(t.Context(), node.MemberChange{})
			text := errors.Join(policy, member, m.Transfer(0))
			if !m.begins() {
				return nil // another member was elected meanwhile
			}
			select {
			case said <- text:
			default:
			}
			return nil
		}
	})
	order(t, c.trader(1), 100)
	text := (<-said).Error()
	if strings.Count(text, "was elected and begins to lead; ask again") != 3 || strings.Contains(text, "does not lead") {
		t.Error(text)
	}
}
