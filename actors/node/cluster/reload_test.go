package cluster

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"sluice/actors/node"
	"sluice/cmd/orderbook"
	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/listen"
)

// What a reload changed is in force after a change of the leader, and a file of keys that is lost by then
// ends no member.
func TestReloadOutlivesChangeOfLeader(t *testing.T) {
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(t.TempDir(), "keys")
	line := "trader " + base64.StdEncoding.EncodeToString(public) + " one\n"
	if err := os.WriteFile(keys, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newTrio(t, func(cfg *Config[orderbook.Report, orderbook.Answer]) { cfg.Node.KeysFile = keys })
	order(t, c.trader(1), 100)
	for id := uint8(1); id <= 3; id++ {
		if changes, err := c.nodes[id].ReloadKeys(); changes.Keys != 1 || err != nil {
			t.Fatalf("node %d read %+v keys again, %v; want 1", id, changes, err)
		}
		changes := node.Changes{Limits: transport.DefaultLimits(), RequestRate: listen.Rate{PerSecond: 1e-3, Burst: 1}}
		if err := c.nodes[id].Reload(changes); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(keys); err != nil {
		t.Fatal(err)
	}
	var from, to uint8
	c.until("a transfer", func() bool { from = c.leader(); return c.nodes[from].Transfer(0) == nil })
	c.until("another leader that serves", func() bool { to = c.leader(); return to != from })
	c.until("the old one following", func() bool {
		p := c.nodes[from].period()
		return p.lead == nil || c.nodes[from].Err() != nil
	})
	trader := c.trader(2) // the query for the last id is its first request
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for n := 0; ; n++ {
		sent, err := trader.Send(ctx, orderbook.Command{Tag: orderbook.TagQueryTop, Instrument: 1})
		if err == nil {
			_, err = sent.Wait(ctx)
		}
		if errors.Is(err, client.ErrBusy) {
			break
		}
		if ctx.Err() != nil || n > 100 {
			t.Fatalf("%d requests to node %d above its rate, the last one with %v", n, to, err)
		}
	}
	if _, err := c.nodes[to].ReloadKeys(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("keys of a file that is gone were read: %v", err)
	}
}
