package trials

import (
	"context"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// A node that follows is killed and its data directory deleted, under load. Its number is given to a new one,
// which becomes a voter; then the next node loses its disk, so that in the end no first directory is left. No
// answered order is lost, which the audit checks with the journals that there are then.
func TestClusterReplace(t *testing.T) {
	serve := []string{"--election", "2s"} // the leader stays, unless the test kills it
	if rand.IntN(2) == 0 {
		serve = append(serve, "--snapshot-events", "2000") // a new directory receives a snapshot
	}
	r := newTrio(t, buildProgram(t), serve...)
	r.trade(4, 1<<rand.IntN(3))
	var took []time.Duration
	for round := range scale(1, 3, 100) {
		lost := r.fleet.Nodes[round%3]
		leader := r.leader()
		if leader == lost { // it loses its disk while another node leads
			lost.Kill()
			leader = r.leader(lost)
			r.answered(10)
		} else {
			r.answered(10)
			lost.Kill()
		}
		r.answered(10)
		ctx, cancel := context.WithTimeout(r.ctx, trioPatience)
		began := time.Now()
		if err := lost.Replace(ctx, leader); err != nil {
			r.fail("%v", err)
		}
		r.start(lost)
		for {
			if n, all := leader.Votes(ctx); n == 3 && all {
				break
			}
			select {
			case <-ctx.Done():
				r.fail("node %d is not a voter again: %v", lost.Number, context.Cause(ctx))
			case <-time.After(10 * time.Millisecond):
			}
		}
		cancel()
		took = append(took, time.Since(began))
		r.answered(10)
	}
	result := r.finish()
	t.Logf("%d answered orders, %d disks replaced, each within %v", result.Found, len(took), spread(took))
}

// A directory that was replaced is refused, ends in order, and is not started again.
func TestClusterRefuseReplacedDisk(t *testing.T) {
	r := newTrio(t, buildProgram(t), "--election", "2s")
	r.trade(2, 1)
	leader := r.leader()
	lost := r.followers(leader)[0]
	r.answered(10)
	lost.Kill()
	old := lost.Dir + ".old"
	if err := os.Rename(lost.Dir, old); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.ctx, trioPatience)
	defer cancel()
	if err := lost.Replace(ctx, leader); err != nil {
		r.fail("%v", err)
	}
	fresh := lost.Dir + ".new"
	for _, move := range [][2]string{{lost.Dir, fresh}, {old, lost.Dir}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
	r.start(lost) // it does not know yet
	select {
	case <-lost.Exited():
	case <-ctx.Done():
		r.fail("a directory that was replaced goes on")
	}
	if err := lost.Start(ctx); err == nil {
		r.fail("a directory that was replaced is started again")
	}
	for _, move := range [][2]string{{lost.Dir, old}, {fresh, lost.Dir}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
	r.start(lost)
	r.answered(10)
	r.finish()
}
