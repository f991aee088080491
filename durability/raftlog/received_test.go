package raftlog

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"sluice/durability"
)

// A node whose disk ends while it puts a received snapshot there, behind the record that announces it, starts
// again with the log that it had, and gets the snapshot then.
func TestNodeStartsAgainWithoutTheSnapshotThatItWasReceiving(t *testing.T) {
	c := newTrio(t)
	id, l := c.leader()
	ring := new(Ring)
	l.Propose(ring)
	c.propose(l, ring, 1, 5, "persisted>=3")
	away := id%3 + 1
	c.stop(away)
	c.propose(l, ring, 6, 40, "persisted>=2")
	held := states{}
	for _, seq := range []durability.Seq{20, 30, 35} {
		held[seq] = fmt.Sprintf("state %d", seq)
		if err := c.snapshot(id, seq, held[seq]); err != nil {
			t.Fatal(err)
		}
	}
	full := true
	c.nodes[id].o.SendSnapshot = func(to uint64, m Meta, frame []byte) {
		state := held[m.Seq]
		content := func(w io.Writer) error {
			if full {
				return errors.New("planted: the disk is full")
			}
			_, err := io.WriteString(w, state)
			return err
		}
		if err := c.nodes[to].ReceiveSnapshot(id, c.starts[id], frame, Received{m, content}); err != nil {
			t.Error(err)
		}
		c.nodes[id].ReportSnapshot(to, true)
	}
	c.start(away)
	c.until("the end of the node", func() bool { return c.nodes[away].Done() })
	if err := <-c.ran[away]; err == nil || !strings.Contains(err.Error(), "planted") {
		t.Errorf("the store ended with %v", err)
	}
	if err := c.logs[away].Close(); err != nil {
		t.Error(err)
	}
	full, c.nodes[away] = false, nil
	c.start(away)
	if at := c.nodes[away].Status(); at.Stored != 5 {
		t.Errorf("the node starts again with %d events, had 5", at.Stored)
	}
	c.until("all events", func() bool {
		items, _ := c.nodes[away].Feed().Take()
		for _, item := range items {
			c.nodes[away].Applied(item.Index)
		}
		return c.nodes[away].Handed() == 40
	})
	c.stop(away)
	c.start(away) // the snapshot is there
	if n := c.nodes[away]; n.log.seq(n.log.base) != 35 {
		t.Errorf("the log begins after event %d", n.log.seq(n.log.base))
	}
}
