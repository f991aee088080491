package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/trade"
	"sluice/durability"
	"sluice/transport/client"
)

// Clients go on with the next leader when a leader is lost, and a node that comes back has everything.
func TestClientsFollowTheLeader(t *testing.T) {
	c := newTrio(t, nil)
	trader := c.trader(1)
	for i := range int64(10) {
		order(t, trader, 100+i)
	}
	id := c.leader()
	c.stop(id)
	for i := range int64(10) {
		order(t, trader, 200+i)
	}
	c.start(id)
	c.opens(trader, 20)
	c.agree()
}

// burst sends orders without waiting, then waits for all of them. It returns how many were not carried
// out. The book must agree with what the client was told.
func (c *trio) burst(trader *trade.Client) (not int) {
	var sent []*trade.Sent
	for range 32 {
		o := trade.Order{Instrument: 1, Side: orderbook.Buy, Price: 100, Quantity: 1}
		s, err := trader.Send(c.ctx(), o.Command())
		if err != nil {
			c.t.Error(err)
			return 0
		}
		sent = append(sent, s)
	}
	done := make([]bool, len(sent))
	for i, s := range sent {
		_, err := s.Wait(c.ctx())
		if done[i] = err == nil; done[i] {
			continue
		}
		if not++; !errors.Is(err, client.ErrNotSent) {
			c.t.Error(err)
		}
	}
	for i := 0; i < len(sent) && not > 0; i++ {
		id := sent[i].Command.ClientOrderID
		o, err := trader.Outcome(c.ctx(), id)
		for errors.Is(err, client.ErrNotSent) { // by the next transfer
			o, err = trader.Outcome(c.ctx(), id)
		}
		// Ids above the last one of the account are unknown.
		used := o.Status != orderbook.StatusNotUsed && o.Status != orderbook.StatusUnknown
		if err != nil || used != done[i] {
			c.t.Errorf("order %d, answered %t, has the status %d, %v", id, done[i], o.Status, err)
		}
	}
	return not
}

// A planned transfer loses no response: what was taken is answered before the leadership is handed over,
// and the clients are told that nothing else was executed.
func TestTransferAnswersWhatWasTaken(t *testing.T) {
	c := newTrio(t, steady)
	var all sync.WaitGroup
	stop := make(chan struct{})
	var not atomic.Int64
	for i := range uint64(4) {
		trader := c.trader(i + 1)
		order(t, trader, 100)
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				not.Add(int64(c.burst(trader)))
			}
		})
	}
	for range 5 {
		var from uint8
		c.until("a transfer", func() bool { from = c.leader(); return c.nodes[from].Transfer(0) == nil })
		c.until("another leader", func() bool {
			st := c.nodes[from].Log()
			return st.Leader != 0 && st.Leader != uint64(from)
		})
	}
	close(stop)
	all.Wait()
	t.Logf("%d orders were not carried out", not.Load())
	c.agree()
}

// The whole cluster is stopped and started.
func TestRestartOfAll(t *testing.T) {
	c := newTrio(t, nil)
	trader := c.trader(1)
	for i := range int64(10) {
		order(t, trader, 100+i)
	}
	for id := uint8(1); id <= 3; id++ {
		c.stop(id)
	}
	for id := uint8(1); id <= 3; id++ {
		c.start(id)
	}
	c.opens(c.trader(1), 10)
	c.agree()
}

// A node that was away for longer than the log reaches back gets a snapshot.
func TestNodeThatWasAwayGetsSnapshot(t *testing.T) {
	c := newTrio(t, func(cfg *Config[orderbook.Report, orderbook.Answer]) { cfg.Node.SnapshotEvents = 20 })
	trader := c.trader(1)
	order(t, trader, 1)
	away := c.leader()%3 + 1
	c.stop(away)
	begins := c.nodes[c.leader()].Log().Snapshot
	for snapshots := 0; snapshots < 3; { // the log reaches back to the second newest
		order(t, trader, 100)
		if at := c.nodes[c.leader()].Log().Snapshot; at > begins {
			begins = at
			snapshots++
		}
	}
	c.start(away)
	c.until("the snapshot", func() bool { return c.nodes[away].Log().Snapshot > 0 })
	c.agree()
}

// A cluster of one member serves, and goes on after a restart.
func TestSingleMember(t *testing.T) {
	c := &trio{t: t, all: []Member{{1, freePort(t), freePort(t)}}}
	c.dirs[1] = t.TempDir()
	if err := Init(c.dirs[1], Membership{Cluster: ID{1}, Node: 1, Members: c.all}); err != nil {
		t.Fatal(err)
	}
	for run := range 2 {
		c.start(1)
		trader := c.trader(1)
		order(t, trader, 100)
		c.opens(trader, run+1)
		if err := c.nodes[1].Transfer(0); err == nil {
			t.Error("a cluster of one member hands its leadership over")
		}
		if _, ok := c.nodes[1].handOver(c.ctx(), nil); ok { // waits for the end of no leadership
			t.Error("a cluster of one member has handed its leadership over")
		}
		c.stop(1)
	}
}

// A policy is part of the log: the next leader begins with it.
func TestPolicyOutlivesItsLeader(t *testing.T) {
	c := newTrio(t, steady)
	order(t, c.trader(1), 100)
	id := c.leader()
	follower := c.nodes[id%3+1]
	if _, _, err := follower.SwapPolicy(c.ctx(), "persisted>=2", false); err == nil {
		t.Error("a node that does not lead changed the policy")
	}
	if _, _, err := c.nodes[id].SwapPolicy(c.ctx(), "local", false); err == nil {
		t.Error("an exposed policy was taken without force")
	}
	const policy = "in_memory>=2"
	if _, now, err := c.nodes[id].SwapPolicy(c.ctx(), policy, false); err != nil || now.String() != policy {
		t.Fatalf("%v, %v", now, err)
	}
	c.stop(id)
	id = c.leader()
	if got := c.nodes[id].Policy().Current().String(); got != policy {
		t.Errorf("the next leader has the policy %q, want %q", got, policy)
	}
}

// panicking is an order book that panics on orders of one quantity.
type panicking struct {
	sequencer.Application[orderbook.Report, orderbook.Answer]
}

const poison = 666

func (p panicking) Apply(ev *sequencer.Event, out sequencer.Emitter[orderbook.Report, orderbook.Answer]) {
	var c orderbook.Command
	if orderbook.DecodeRequest(ev.Tag, ev.Body, &c) == nil && c.Quantity == poison {
		panic("poisoned")
	}
	p.Application.Apply(ev, out)
}

// A request on which the application panics costs each node at most one leadership, and is in no log.
func TestPoisonedRequestIsRefused(t *testing.T) {
	c := newTrio(t, func(cfg *Config[orderbook.Report, orderbook.Answer]) {
		steady(cfg)
		books := cfg.Node.Application
		cfg.Node.Application = func() sequencer.Application[orderbook.Report, orderbook.Answer] { return panicking{books()} }
	})
	good := c.trader(1)
	order(t, good, 100)
	bad := c.trader(2)
	command := orderbook.Command{Tag: orderbook.TagNew, ClientOrderID: 7, Instrument: 1, Side: orderbook.Buy,
		Type: orderbook.Limit, TimeInForce: orderbook.GoodTillCancel, Price: 5, Quantity: poison}
	panics := 0
	for {
		sent, err := bad.Send(c.ctx(), command)
		if err == nil {
			_, err = sent.Wait(c.ctx())
		}
		if errors.Is(err, client.ErrUnknownOutcome) {
			panics++
			continue
		}
		if errors.Is(err, client.ErrNotSent) { // while no node leads
			continue
		}
		if err == nil {
			t.Error("the poisoned request was executed")
		}
		break // refused
	}
	if panics == 0 || panics > 3 {
		t.Errorf("the request ended %d leaderships; want one for each node at most", panics)
	}
	order(t, good, 101)
	c.opens(good, 2)
	c.agree()
}

// opens asks how many orders are open. A leader may lose its office meanwhile, on a busy machine.
func (c *trio) opens(trader *trade.Client, want int) {
	c.t.Helper()
	ctx := c.ctx()
	for {
		open, err := trader.OpenOrders(ctx)
		if ctx.Err() == nil && (errors.Is(err, client.ErrUnknownOutcome) || errors.Is(err, client.ErrNotSent)) {
			continue
		}
		if err != nil || len(open) != want {
			c.t.Errorf("%d open orders, %v; want %d", len(open), err, want)
		}
		return
	}
}

// ctx returns a context that ends a call which must not take long.
func (c *trio) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	c.t.Cleanup(cancel)
	return ctx
}

// agree waits until all nodes have applied the same events, for some time, and compares their states: of those that
// have ended at the same event, for a client may come or leave before all have ended.
func (c *trio) agree() {
	c.t.Helper()
	var at durability.Seq
	looks := 0
	c.until("all nodes at one event", func() bool {
		looks++
		leader := c.nodes[c.leader()]
		if now := leader.settled(); now != at || leader.now.Load().Sequenced() != at {
			at, looks = now, 0
		}
		for _, n := range c.nodes {
			if n != nil && n.settled() != at {
				looks = 0
			}
		}
		return looks == 20
	})
	states := map[durability.Seq]map[string][]int{} // by event: states, and who has them
	for id, n := range c.nodes {
		if n == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := n.Stop(ctx); err != nil {
			c.t.Errorf("node %d: %v", id, err)
		}
		cancel()
		c.nodes[id] = nil
		f := n.machine.follower
		if f == nil {
			// That of a leadership, which has executed more if a client left meanwhile, or if it was lost and no
			// entry of the next one has come yet: then the node does not know what of it is in the log.
			if last := n.machine.lent.state.Last(); last != at {
				c.t.Logf("node %d is at event %d of its leadership, not compared", id, last)
				continue
			}
			f = sequencer.Following(n.machine.lent.app, n.machine.encoder, n.machine.lent.state)
		}
		digest, outputs := f.Digest()
		state := new(counter)
		if err := f.WriteSnapshot(state); err != nil {
			c.t.Error(err)
		}
		if states[f.Last()] == nil {
			states[f.Last()] = map[string][]int{}
		}
		all, own := states[f.Last()], fmt.Sprintf("%x %d %v", digest, outputs, *state)
		all[own] = append(all[own], id)
	}
	for event, all := range states {
		if len(all) != 1 {
			c.t.Errorf("at event %d the nodes have the states %v", event, all)
		}
	}
}

// counter counts and sums up bytes.
type counter struct{ n, sum uint64 }

func (c *counter) Write(p []byte) (int, error) {
	for _, b := range p {
		c.sum = c.sum*31 + uint64(b)
	}
	c.n += uint64(len(p))
	return len(p), nil
}

// A leader that has lost the others ends soon, although what it executed can never be answered.
func TestDrainWithoutMajorityEnds(t *testing.T) {
	c := newTrio(t, nil)
	order(t, c.trader(1), 100)
	id := c.leader()
	leader := c.nodes[id]
	for other := uint8(1); other <= 3; other++ {
		if other != id {
			c.stop(other)
		}
	}
	o := trade.Order{Instrument: 1, Side: orderbook.Buy, Price: 1, Quantity: 1}
	_, _ = c.trader(2).Send(c.ctx(), o.Command()) // it may be too late for it
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	go func() { _ = leader.Drain(ctx) }()
	c.until("the end", func() bool {
		select {
		case <-leader.Ended():
			return true
		default:
			return false
		}
	})
	c.nodes[id] = nil
}

// A member that has lost its data is refused by those who met it before, also after a restart of all.
func TestMemberThatLostItsDataIsRefused(t *testing.T) {
	c := newTrio(t, nil)
	trader := c.trader(1)
	order(t, trader, 100)
	c.met(1)
	lost := c.leader()%3 + 1
	c.stop(lost)
	if err := os.RemoveAll(c.dirs[lost]); err != nil {
		t.Fatal(err)
	}
	if err := Init(c.dirs[lost], Membership{Cluster: ID{1: 7, 15: 9}, Node: lost, Members: c.all}); err != nil {
		t.Fatal(err)
	}
	order(t, trader, 101)
	for id := uint8(1); id <= 3; id++ {
		if id != lost {
			c.stop(id)
		}
	}
	one, other := lost%3+1, (lost+1)%3+1
	c.start(lost)
	c.start(one)
	c.refused(lost, "was made anew", one)
	if leader := c.nodes[one].Log().Leader; leader != 0 {
		t.Errorf("node %d leads with a member that has lost its data", leader)
	}
	c.start(other)
	c.opens(trader, 2)
	if at := c.nodes[lost].Log(); at.Stored != 0 || at.Term > 1 && at.Leader != 0 {
		t.Errorf("the member that has lost its data takes part: %+v", at)
	}
}
