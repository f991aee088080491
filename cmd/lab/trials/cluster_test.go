package trials

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"sluice/cmd/internal/audit"
	"sluice/cmd/internal/fleet"
	"sluice/cmd/orderbook"
	"sluice/transport/client"
)

// The node that leads is killed again and again, under load. Every order that was answered is in the
// journals of a majority under its number, none is there twice, and what clients received equals what a
// replay gives.
//
// A kill -9 leaves the page cache intact, so the journals may be on tmpfs. The simulator of
// actors/node/cluster tests power failures.
func TestClusterKillLeader(t *testing.T) {
	const eraKills = 20 // with the same data directories, so that no journal grows long
	kills := scale(2, 5, 200)
	program := buildProgram(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var gaps []time.Duration
	orders, queries := 0, 0
	for done := 0; done < kills; done += eraKills {
		serve := []string{"--io", []string{"auto", "poll"}[rng.IntN(2)], "--shards", fmt.Sprint(1 + rng.IntN(2))}
		if rng.IntN(2) == 0 {
			serve = append(serve, "--snapshot-events", "5000") // a node that was away receives a snapshot
		}
		r := newTrio(t, program, serve...)
		r.trade(8, 1<<rng.IntN(5))
		var at []time.Time
		for range min(eraKills, kills-done) {
			r.answered(10 + rng.Int64N(50))
			leader := r.leader()
			at = append(at, time.Now())
			leader.Kill()
			r.leader(leader)
			r.answered(10 + rng.Int64N(50))
			r.start(leader)
		}
		result := r.finish()
		for _, c := range r.clients {
			gaps = append(gaps, fleet.Gaps(at, &c.Trader)...)
		}
		orders, queries = orders+result.Found, queries+result.Agreed
	}
	t.Logf("%d kills: %d answered orders and %d queries, all found; from the kill to the next response of a client %v",
		kills, orders, queries, spread(gaps))
}

// spread describes times.
func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	at := func(p int) time.Duration { return all[(len(all)-1)*p/100].Round(time.Millisecond) }
	return fmt.Sprintf("p50 %v, p99 %v, longest %v of %d", at(50), at(99), at(100), len(all))
}

// What a policy of class exposed loses is found: the trials of this file and their audit can fail. The leader is
// cut off from the others and goes on, so that its clients get responses that the log will not have.
func TestClusterLossIsFound(t *testing.T) {
	links := newBetween(t)
	r := layTrio(t, fleet.Options{Program: buildProgram(t), Peer: links.lead,
		Serve: []string{"--policy", "local", "--force-policy", "--election", "500ms"}})
	r.begin()
	before := uint64(0)
	for answered := false; !answered; { // again if the leadership ends before the response
		leader := r.leader()
		c := r.open(leader.Client)
		if !r.committed(leader, c.order(r.ctx), &before) {
			continue
		}
		links.set(weather{held: true}, func(x route) bool { return x.from == leader.Number || x.to == leader.Number })
		answered = c.order(r.ctx).wait(r.ctx) == nil
		r.leader(leader)
		links.clear()
	}
	err := r.open().order(r.ctx).wait(r.ctx)
	for errors.Is(err, client.ErrUnknownOutcome) || errors.Is(err, client.ErrNotSent) { // of the deposed leader
		err = r.open().order(r.ctx).wait(r.ctx)
	}
	if err != nil {
		r.fail("%v", err)
	}
	r.quit()
	r.fleet.Kill()
	result, err := audit.Run(r.fleet.Dirs(), []string{r.histories()})
	if err != nil {
		r.fail("%v", err)
	}
	if result.Failed() == 0 {
		r.fail("the audit finds no loss: %v", result)
	}
	t.Logf("%d faults, the first one: %v", result.Failed(), result.Faults[0].Text)
}

// A kill of a node that follows is not noticed by any client, and the node comes back.
func TestClusterKillFollower(t *testing.T) {
	r := newTrio(t, buildProgram(t), "--election", "1s")
	r.trade(4, 4)
	var began []time.Time // of each round, and the end of the last one
	for range scale(3, 5, 30) {
		leader := r.leader()
		n := r.followers(leader)[rand.IntN(2)]
		began = append(began, time.Now())
		r.answered(10)
		n.Kill()
		r.answered(50)
		r.start(n)
		r.answered(10)
	}
	began = append(began, time.Now())
	result := r.finish()
	undisturbed := 0
	for i, from := range began[:len(began)-1] {
		lost := slices.ContainsFunc(r.clients, func(c *tradingClient) bool {
			return slices.ContainsFunc(c.Breaks, func(b fleet.Break) bool {
				return b.Noticed.After(from) && b.Noticed.Before(began[i+1])
			})
		})
		if !lost {
			undisturbed++
		}
	}
	if undisturbed == 0 { // a starved machine can elect in a round, but not in all
		t.Errorf("clients lost their connections in each of %d rounds", len(began)-1)
	}
	t.Logf("%d answered orders; no client lost its connection in %d of %d rounds", result.Found,
		undisturbed, len(began)-1)
}

// All nodes are killed at once and start again: nothing that was answered is lost.
func TestClusterKillAll(t *testing.T) {
	r := newTrio(t, buildProgram(t))
	r.trade(4, 8)
	for range scale(1, 2, 20) {
		r.answered(20)
		r.fleet.Kill()
		if err := r.fleet.Start(r.ctx); err != nil {
			r.fail("%v", err)
		}
		r.answered(20)
	}
	t.Logf("%d answered orders", r.finish().Found)
}

// A node that leads and gets SIGTERM hands its leadership over. A client that waits for each response
// never loses one.
func TestClusterTransfer(t *testing.T) {
	r := newTrio(t, buildProgram(t), "--election", "2s") // no election but those of the test
	r.trade(4, 1)
	for range scale(1, 3, 50) {
		r.answered(20)
		leader := r.leader()
		if err := leader.Drain(trioPatience); err != nil {
			r.fail("%v", err)
		}
		if next := r.leader(leader); next == leader {
			r.fail("node %d leads and has ended", next.Number)
		}
		r.answered(20)
		r.start(leader)
	}
	result := r.finish()
	var longest []time.Duration
	for _, c := range r.clients {
		if longest = append(longest, c.Longest); c.Executed > 0 {
			t.Errorf("client %d lost %d responses to commands that were executed", c.account, c.Executed)
		}
	}
	t.Logf("%d answered orders, %d without a response; longest time without one: %v", result.Found, result.Unknown, spread(longest))
}

// A node that leads is stopped; another one takes over, and orders are executed. When it is continued,
// it does not yet know that it was deposed, and has requests to respond to: no query is answered from
// its old state, which the audit checks with the times of requests and responses.
func TestClusterStopLeader(t *testing.T) {
	// No client gives up the stopped node, and there is no election but those of the test.
	r := newTrio(t, buildProgram(t), "--heartbeat", "1m", "--election", "2s")
	for range scale(1, 5, 20) {
		r.stopLeader()
	}
	result := r.finish()
	t.Logf("%d answered orders, %d queries agree, %d without a response", result.Found, result.Agreed, result.Unknown)
}

func (r *trio) stopLeader() {
	r.t.Helper()
	leader := r.leader()
	var old []*tradingClient
	for range 16 {
		c := r.open(leader.Client)
		if err := c.order(r.ctx).wait(r.ctx); err != nil {
			r.fail("%v", err)
		}
		old = append(old, c)
	}
	r.signal(leader, syscall.SIGSTOP)
	r.leader(leader)
	var others []string
	for _, n := range r.followers(leader) {
		others = append(others, n.Client)
	}
	if err := r.open(others...).order(r.ctx).wait(r.ctx); err != nil {
		r.fail("%v", err)
	}
	var late []*request
	for _, c := range old { // into the kernel's buffers of the stopped node
		for range 8 {
			late = append(late, c.query(r.ctx))
		}
		late = append(late, c.order(r.ctx), c.query(r.ctx))
	}
	r.signal(leader, syscall.SIGCONT)
	for _, q := range late {
		if err := q.wait(r.ctx); err == nil {
			r.fail("node %d was deposed before request %#02x of client %d was sent to it, and answered", leader.Number,
				q.call.Command.Tag, q.client.account)
		}
	}
	if again := r.leader(leader); again == leader {
		r.fail("node %d leads", again.Number)
	}
}

func (r *trio) signal(n *fleet.Node, s syscall.Signal) {
	r.t.Helper()
	if err := n.Signal(s); err != nil {
		r.fail("%v", err)
	}
}

// request is a request of a client that does not trade by itself.
type request struct {
	client *tradingClient
	call   *fleet.Call
	err    error
}

func (c *tradingClient) order(ctx context.Context) *request {
	c.LastID++
	return c.send(ctx, *orderOf(placement{c.account, c.LastID}))
}

func (c *tradingClient) query(ctx context.Context) *request {
	return c.send(ctx, orderbook.Command{Tag: orderbook.TagQueryTop, Instrument: 1})
}

func (c *tradingClient) send(ctx context.Context, command orderbook.Command) *request {
	ctx, cancel := context.WithTimeout(ctx, trioPatience)
	defer cancel()
	call, err := c.Client.Send(ctx, command)
	return &request{c, call, err}
}

func (q *request) wait(ctx context.Context) error {
	if q.err != nil {
		return q.err
	}
	ctx, cancel := context.WithTimeout(ctx, trioPatience)
	defer cancel()
	_, err := q.call.Wait(ctx)
	return err
}
