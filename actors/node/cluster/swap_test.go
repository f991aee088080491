package cluster

import (
	"errors"
	"testing"

	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/trade"
	"sluice/transport/client"
)

// A policy that asks for all nodes stops a cluster that has lost one. Under load, another policy ends that,
// although responses fill the ring of slots and requests the queue.
func TestPolicyIsSwappedUnderLoad(t *testing.T) {
	c := newTrio(t, func(cfg *Config[orderbook.Report, orderbook.Answer]) {
		cfg.Node.Pipeline.Slots, cfg.Node.QueueBytes = 64, 4096
	})
	trader := c.trader(1)
	order(t, trader, 100)
	leader := c.nodes[c.leader()]
	c.until("a policy that asks for all nodes", func() bool { // a slow machine may elect another leader
		leader = c.nodes[c.leader()]
		_, _, err := leader.SwapPolicy(c.ctx(), "persisted>=3", false)
		return err == nil
	})
	c.stop(c.leader()%3 + 1)
	const orders = 400
	sent := make(chan *trade.Sent, orders)
	go func() {
		defer close(sent)
		for range orders {
			s, err := trader.Send(c.ctx(), (&trade.Order{Instrument: 1, Side: orderbook.Buy, Price: 100,
				Quantity: 1}).Command())
			if err != nil {
				t.Error(err)
				return
			}
			sent <- s
		}
	}()
	c.until("a full queue", func() bool { return leader.Full() > 0 })
	if _, now, err := leader.SwapPolicy(c.ctx(), "persisted>=2", false); err != nil {
		t.Fatalf("the policy is %v: %v", now, err)
	}
	for s := range sent {
		_, err := s.Wait(c.ctx())
		if err != nil && !errors.Is(err, client.ErrUnknownOutcome) && !errors.Is(err, client.ErrNotSent) { // by an election
			t.Fatal(err)
		}
	}
	c.agree()
}

// A cluster with one voter ends as a node of its own does when the application panics, with the panic as its
// error. The request is in no log: the next start serves, and has everything else.
func TestOnlyVoterEndsByAPanic(t *testing.T) {
	c := &trio{t: t, all: []Member{{1, freePort(t), freePort(t)}},
		edit: func(cfg *Config[orderbook.Report, orderbook.Answer]) {
			books := cfg.Node.Application
			cfg.Node.Application = func() sequencer.Application[orderbook.Report, orderbook.Answer] {
				return panicking{books()}
			}
		}}
	c.dirs[1] = t.TempDir()
	if err := Init(c.dirs[1], Membership{Cluster: ID{1}, Node: 1, Members: c.all}); err != nil {
		t.Fatal(err)
	}
	c.start(1)
	good := c.trader(1)
	order(t, good, 100)
	bad := c.trader(2)
	sent, err := bad.Send(c.ctx(), orderbook.Command{Tag: orderbook.TagNew, ClientOrderID: 7, Instrument: 1,
		Side: orderbook.Buy, Type: orderbook.Limit, TimeInForce: orderbook.GoodTillCancel, Price: 5, Quantity: poison})
	if err != nil {
		t.Fatal(err)
	}
	var p *sequencer.PanicError
	if err := c.nodes[1].Wait(c.ctx()); !errors.As(err, &p) || p.Hash == 0 {
		t.Errorf("the member ended with %v, want the panic", err)
	}
	if _, err := sent.Wait(c.ctx()); !errors.Is(err, client.ErrUnknownOutcome) {
		t.Errorf("the poisoned request: %v", err)
	}
	bad.Close()
	c.start(1)
	order(t, good, 101)
	c.opens(good, 2)
}
