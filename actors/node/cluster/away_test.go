package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/trade"
	"sluice/durability"
	"sluice/transport/client"
)

// lines collects the log of a node.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.text.Bytes(), []byte(text))
}

// enter enters an order, and another one as long as the outcome is unknown: a leader that lost its office
// may not have answered.
func enter(t *testing.T, c *trade.Client, price int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		_, err := c.New(ctx, trade.Order{Instrument: 1, Side: orderbook.Buy, Price: price, Quantity: 1})
		if err == nil {
			return
		}
		if ctx.Err() != nil || !errors.Is(err, client.ErrUnknownOutcome) && !errors.Is(err, client.ErrNotSent) {
			t.Fatal(err)
		}
	}
}

// A member that was away for longer than the others keep the log gets a snapshot over the links. After
// that it counts for the policy, and starts on what it received.
func TestMemberThatWasAwayGetsASnapshot(t *testing.T) {
	var logs [4]lines
	c := newTrio(t, func(cfg *Config[orderbook.Report, orderbook.Answer]) {
		cfg.Node.SnapshotEvents = 8
		var id int
		if _, err := fmt.Sscan(filepath.Base(cfg.Node.DataDir), &id); err != nil {
			t.Fatal(err)
		}
		cfg.Node.Log = slog.New(slog.NewTextHandler(&logs[id], nil))
	})
	trader := c.trader(1)
	enter(t, trader, 1)
	leader := c.leader()
	away, third := 1+leader%3, 1+(leader+1)%3
	c.stop(away)
	// The log begins after the older of the two newest snapshots, and whichever of the two nodes leads
	// later must have left behind what the third one has.
	seen := map[uint8]map[durability.Seq]bool{leader: {}, third: {}}
	price := int64(1)
	c.until("two snapshots on each node", func() bool {
		price++
		enter(t, trader, price)
		for id, all := range seen {
			if at := c.nodes[id].raft.Status().Snapshot; at > 0 {
				all[at] = true
			}
		}
		return len(seen[leader]) > 1 && len(seen[third]) > 1
	})
	at := c.nodes[c.leader()].settled()
	c.start(away)
	c.until("the member that was away", func() bool { return c.nodes[away].settled() >= at })
	c.until("the line of a snapshot that was received", func() bool { return logs[away].has("snapshot received") })
	c.stop(third)
	enter(t, trader, 1) // on the two that are left
	c.start(third)
	at = c.nodes[c.leader()].settled()
	c.until("the third member", func() bool { return c.nodes[third].settled() >= at })
	c.stop(away)
	enter(t, trader, 2)
	at = c.nodes[c.leader()].settled()
	c.start(away)
	c.until("the member that was away, again", func() bool { return c.nodes[away].settled() >= at })
}
