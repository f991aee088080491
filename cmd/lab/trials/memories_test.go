package trials

import (
	"context"
	"slices"
	"testing"
	"time"

	"sluice/actors/node"
	"sluice/cmd/internal/fleet"
	"sluice/cmd/orderbook"
)

// remembered is an order that was answered under in_memory>=2 while the disk of a node that follows hung, and the
// third node was cut off: the log had all up to event before for good.
type remembered struct {
	leader, near *fleet.Node
	order        *request
	event        uint64
	before       uint64
}

// Under the crash-safe policy in_memory>=2, an order is answered that two memories have. If both are lost before
// a majority of the disks has it, and only then, the order is gone: the next leader says so, the audit finds it, and
// nothing else. A node that has it on its disk counts it when it comes back.
func TestClusterLostMemories(t *testing.T) {
	program, seed := buildProgram(t), uint64(time.Now().UnixNano())
	lost, counted := 0, uint64(0)
	for round := seed; round < seed+uint64(scale(1, 1, 90)); round++ {
		a := newAttack(t, program, round, 2*time.Second, time.Second, newToll())
		for _, n := range a.fleet.Nodes {
			n.Args = append(n.Args, "--policy", "in_memory>=2", "--disk-stall", "1m")
		}
		if err := a.underKernels(); err != nil {
			t.Skip(err)
		}
		a.trio.begin()
		a.probe = a.open() // no other client trades
		a.settle(nil)
		disk := round%3 == 0 // that of the leader is well
		r := a.answerFromMemory(disk)
		r.leader.Kill()
		two := round%3 < 2 // memories are lost, else that of the leader alone
		if two {
			r.near.Kill()
		}
		a.links.breakAll(func(x route) bool { // what is on its way is lost
			return x.from == r.leader.Number || x.to == r.leader.Number
		})
		a.clear()
		if two {
			a.start(r.near)
		}
		a.leader(r.leader)
		a.start(r.leader)
		a.settle(nil)
		status := a.outcome(r.order)
		gone := status == orderbook.StatusUnknown || status == orderbook.StatusNotUsed
		if gone != two {
			a.fail("two memories are lost: %v; and the next leader says %v of an order that they had", two, status)
		}
		replaced := a.replaced()
		if want := two && disk; want != (replaced > 0) {
			a.fail("the nodes have counted %d replaced events; some are expected: %v", replaced, want)
		}
		counted += replaced
		a.quit()
		a.fleet.Kill()
		if !two {
			a.audit()
			continue
		}
		if n := a.losses(r.before, max(1, replaced)); n != 1 {
			a.fail("%d answered orders are lost", n)
		}
		lost++
	}
	t.Logf("seed %d: %d orders that were answered from two memories are lost, and %d events are counted",
		seed, lost, counted)
}

// clear ends the weather, and the faults of all disks.
func (a *attack) clear() {
	a.links.clear()
	for _, k := range a.kernels {
		k.heal()
	}
}

// replaced is the number of events that the processes that run have counted as replaced by another leader's.
func (a *attack) replaced() (sum uint64) {
	a.t.Helper()
	for _, n := range a.fleet.Nodes {
		now, err := look(a.ctx, n)
		if err != nil {
			a.fail("%v", err)
		}
		sum += now.Replaced
	}
	return sum
}

// answerFromMemory has a leader answer an order that is in its memory and in that of a node whose disk hangs, and
// nowhere else but on the leader's disk, if that is well. A machine that is too slow for it is given another try.
func (a *attack) answerFromMemory(disk bool) (r remembered) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.ctx, 2*trioPatience)
	defer cancel()
	for ctx.Err() == nil {
		r.leader = a.leader()
		others := a.followers(r.leader)
		r.near = others[0]
		c := a.open(r.leader.Client)
		if a.committed(r.leader, c.order(ctx), &r.before) {
			away := others[1].Number
			a.links.set(weather{held: true}, func(x route) bool { return x.from == away || x.to == away })
			a.kernels[r.near].hang()
			if !disk {
				a.kernels[r.leader].hang()
			}
			if r.order = c.order(ctx); r.order.err == nil && a.remembers(ctx, &r, disk) {
				return r
			}
		}
		a.clear()
		a.settle(nil)
	}
	a.fail("no order was answered from two memories")
	return r
}

// remembers reports that an order is answered, and on the disk of its leader if that is well.
func (a *attack) remembers(ctx context.Context, r *remembered, disk bool) bool {
	ctx, cancel := context.WithTimeout(ctx, trioPatience/2)
	defer cancel()
	answer, err := r.order.call.Wait(ctx)
	if err != nil {
		return false
	}
	r.event = answer.Event
	return !disk || poll(ctx, func() bool {
		now, err := look(ctx, r.leader)
		i := slices.IndexFunc(now.Members, func(x node.ClusterMember) bool { return int(x.Node) == r.leader.Number })
		return err == nil && i >= 0 && now.Members[i].Match != nil && *now.Members[i].Match >= r.event
	})
}
