package trials

import (
	"context"
	"errors"
	"testing"
	"time"

	"sluice/cmd/internal/audit"
	"sluice/cmd/internal/fleet"
	"sluice/cmd/orderbook"
	"sluice/transport/client"
)

// Under the exposed policy local, a leader that is cut off answers orders until it knows that it is deposed. If
// another one leads then, they are gone: the next leader says that it does not know them, the audit finds them
// lost, and the old leader counts them when it comes back. Nothing else is lost.
func TestClusterExposedPolicy(t *testing.T) {
	program, seed := buildProgram(t), uint64(time.Now().UnixNano())
	lost, counted := 0, uint64(0)
	for round := range scale(1, 2, 100) {
		a := newAttack(t, program, seed+uint64(round), 2*time.Second, time.Second, newToll())
		for _, n := range a.fleet.Nodes {
			n.Args = append(n.Args, "--policy", "local", "--force-policy")
		}
		a.trio.begin()
		a.probe = a.open() // no other client trades: two batches that are not committed stop a leader
		a.settle(nil)
		leader, gone, before := a.answerAlone()
		if round%2 == 0 {
			leader.Kill()
		}
		a.leader(leader)
		a.links.clear()
		if round%2 == 0 {
			a.start(leader)
		}
		a.settle(nil)
		status := a.outcome(gone)
		if status != orderbook.StatusUnknown && status != orderbook.StatusNotUsed {
			a.fail("the next leader says %v of an order that only its predecessor had", status)
		}
		now, err := look(a.ctx, leader)
		if err != nil || now.Replaced == 0 {
			a.fail("node %d has counted %d replaced events: %v", leader.Number, now.Replaced, err)
		}
		counted += now.Replaced
		a.quit()
		a.fleet.Kill()
		lost += a.losses(before, now.Replaced)
	}
	t.Logf("%d orders that were answered under an exposed policy are lost, and %d events are counted", lost, counted)
}

// answerAlone cuts the leader off and has it answer an order, which no other node has. What the log had before
// that is in it for good. A machine that is too slow for it is given another try.
func (a *attack) answerAlone() (leader *fleet.Node, order *request, before uint64) {
	a.t.Helper()
	for limit := time.Now().Add(trioPatience); time.Now().Before(limit); {
		leader = a.leader()
		c := a.open(leader.Client)
		if a.committed(leader, c.order(a.ctx), &before) {
			a.links.set(weather{held: true}, func(r route) bool { return r.from == leader.Number || r.to == leader.Number })
			order = c.order(a.ctx)
			if order.wait(a.ctx) == nil {
				return leader, order, before
			}
			a.leader(leader)
			a.links.clear()
		}
		a.settle(nil)
	}
	a.fail("no order was answered by a leader that was cut off")
	return nil, nil, 0
}

// committed waits until an order is answered, and other nodes have it, so that the leader may execute another one.
// It reports whether all went well, and the order's event.
func (r *trio) committed(leader *fleet.Node, q *request, event *uint64) bool {
	if q.err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(r.ctx, trioPatience)
	defer cancel()
	response, err := q.call.Wait(ctx)
	if err != nil {
		return false
	}
	*event = response.Event
	return poll(ctx, func() bool {
		now, err := look(ctx, leader)
		return err == nil && now.Committed >= response.Event
	})
}

// outcome asks the cluster what became of an order.
func (a *attack) outcome(q *request) orderbook.Status {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.ctx, trioPatience)
	defer cancel()
	for {
		call, err := q.client.Client.Send(ctx, orderbook.Command{Tag: orderbook.TagQueryOutcome,
			ClientOrderID: q.call.Command.ClientOrderID})
		if err == nil {
			var r fleet.Result
			if r, err = call.Wait(ctx); err == nil {
				return r.Answers[len(r.Answers)-1].(orderbook.Outcome).Status
			}
		}
		if !errors.Is(err, client.ErrUnknownOutcome) && !errors.Is(err, client.ErrNotSent) || ctx.Err() != nil {
			a.fail("what became of an order: %v", err)
		}
	}
}

// losses audits everything, and returns how many answered orders are lost: some, at most as many as were
// counted, and none up to an event.
func (a *attack) losses(before, counted uint64) (lost int) {
	a.t.Helper()
	result, err := audit.Run(a.fleet.Dirs(), []string{a.histories()})
	if err != nil {
		a.fail("%v", err)
	}
	for _, f := range result.Faults {
		if f.Kind == audit.Loss {
			lost++
		}
		if f.Event <= before {
			a.fail("event %d was in the log for good: %s", f.Event, f.Text)
		}
	}
	if lost == 0 || uint64(lost) > counted {
		a.fail("%d answered orders are lost, %d events were counted: %v", lost, counted, result)
	}
	return lost
}
