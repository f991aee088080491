package cluster

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"sluice/actors/node"
	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability/raftlog"
	"sluice/telemetry"
	"sluice/transport/client"
)

func TestReadiness(t *testing.T) {
	c := newTrio(t, nil)
	id := c.leader()
	for i := uint8(1); i <= 3; i++ {
		c.until(fmt.Sprintf("node %d ready", i), func() bool { return c.nodes[i].Ready() && c.nodes[i].period().Ready() })
	}
	c.stop(id%3 + 1)
	c.stop((id+1)%3 + 1)
	c.until("a node alone that is not ready", func() bool {
		st := c.nodes[id].Cluster()
		return st.Unready == node.MemberElects && st.Leader == 0 && !c.nodes[id].Ready()
	})
	n := c.nodes[id]
	c.stop(id)
	if got := n.Cluster().Unready; got != node.UnreadyEnded {
		t.Errorf("after the end: %q", got)
	}
}

// hanging is a book whose Apply hangs while it is told to.
type hanging struct {
	*orderbook.Book
	gate *sync.RWMutex // held for writing: Apply hangs
}

func (h hanging) Apply(ev *sequencer.Event, out sequencer.Emitter[orderbook.Report, orderbook.Answer]) {
	h.gate.RLock()
	defer h.gate.RUnlock()
	h.Book.Apply(ev, out)
}

// A follower whose application hangs knows that it is behind, and its executor is seen not to come round.
func TestFollowerBehindTheLog(t *testing.T) {
	var gates [4]sync.RWMutex
	started := 0
	c := newTrio(t, func(cfg *Config[orderbook.Report, orderbook.Answer]) {
		steady(cfg)
		started++
		gate := &gates[(started-1)%3+1] // nodes are started by their numbers
		cfg.Node.Application = func() sequencer.Application[orderbook.Report, orderbook.Answer] {
			book, err := orderbook.New(orderbook.Config{})
			if err != nil {
				panic(err)
			}
			return hanging{book, gate}
		}
	})
	id := c.leader()
	slow := id%3 + 1
	gates[slow].Lock()
	trader := c.trader(1)
	for i := range int64(20) {
		order(t, trader, 100+i)
	}
	n := c.nodes[slow]
	c.until("the follower late", func() bool { return n.Log().Late && n.Cluster().Lag > 0 })
	silent := false
	c.until("the executor at work", func() bool {
		n.Collector().Loops(func(l telemetry.Loop) { silent = silent || l.Name == "executor" && l.Rounds()&1 == 1 })
		return silent
	})
	gates[slow].Unlock()
	c.until("the follower caught up", func() bool { return !n.Log().Late && n.Cluster().Lag == 0 && n.Ready() })
}

func TestLagDecidesReadiness(t *testing.T) {
	n := &Node[orderbook.Report, orderbook.Answer]{ending: newEnding()}
	n.ending.ready.Store(true)
	for _, tt := range []struct {
		applied, behind uint64
		late            bool
		lag             uint64
		want            string
	}{
		{100_000, 0, false, 0, ""},
		{80_000, 0, false, 20_000, ""},
		{90_000, 0, true, 10_000, ""},
		{89_999, 0, true, 10_001, node.UnreadyBehind},
		{100_000, 1_000, true, 10_000, ""}, // an entry has 10 events
		{100_000, 1_001, true, 10_010, node.UnreadyBehind},
	} {
		c := node.Cluster{State: node.MemberFollows, Committed: 100_000, Applied: tt.applied}
		st := raftlog.Status{Committed: 100_000, Applied: 10_000, Behind: tt.behind, Late: tt.late}
		c.Lag = lag(&c, &st)
		if got := n.unready(&c, &st); got != tt.want || c.Lag != tt.lag {
			t.Errorf("%+v: %q, lag %d", tt, got, c.Lag)
		}
	}
}

// A client that comes between the election of a node and the opening of its office waits, and is served.
func TestClientWaitsForTheOfficeToOpen(t *testing.T) {
	entered, open := make(chan uint8, 1), make(chan struct{})
	opened := sync.OnceFunc(func() { close(open) })
	defer opened()
	c := newTrio(t, func(cfg *Config[orderbook.Report, orderbook.Answer]) {
		cfg.Election = 500 * time.Millisecond // a busy machine must not elect another one meanwhile
		cfg.Node.BeforeClients = func(n node.Running) error {
			if p := n.(*period[orderbook.Report, orderbook.Answer]); p.lead != nil {
				select {
				case entered <- p.member.members.Node:
				default: // not the first office
				}
				<-open
			}
			return nil
		}
	})
	id := <-entered
	leads := make(chan bool, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn, err := client.Dial(ctx, "tcp", c.all[id-1].Client, client.Options{})
		if err != nil {
			t.Error(err)
			leads <- false
			return
		}
		defer conn.Close()
		leads <- conn.Server().Leads
	}()
	select {
	case <-leads:
		t.Fatalf("node %d answered before its office was open", id)
	case <-time.After(200 * time.Millisecond): // for a wrong answer; the right one needs the office
	}
	opened()
	if !<-leads {
		t.Errorf("node %d sent a client away that waited for its office", id)
	}
}
