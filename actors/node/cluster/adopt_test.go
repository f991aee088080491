package cluster

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"sluice/actors/node"
	"sluice/cmd/orderbook"
	"sluice/transport/listen"
)

// A single node becomes the first one of a cluster: its state goes on, also on the nodes that are added.
func TestSingleNodeBecomesCluster(t *testing.T) {
	books, err := orderbook.Factory(orderbook.Config{})
	if err != nil {
		t.Fatal(err)
	}
	c := &trio{t: t, all: []Member{{1, freePort(t), freePort(t)}}}
	t.Cleanup(c.end)
	old := node.Config[orderbook.Report, orderbook.Answer]{DataDir: t.TempDir(), Application: books,
		Encoder: orderbook.Encoder{},
		Listen:  listen.Config{Endpoints: []listen.Endpoint{{Network: "tcp", Address: c.all[0].Client, Open: true}}}}
	single, err := node.Open(context.Background(), old)
	if err != nil {
		t.Fatal(err)
	}
	trader := c.trader(1)
	for i := range int64(5) {
		order(t, trader, 100+i)
	}
	if err := single.Drain(c.ctx()); err != nil {
		t.Fatal(err)
	}
	was := single.Sequenced()
	c.dirs[1] = filepath.Join(t.TempDir(), "1")
	m := Membership{Cluster: ID{5}, Node: 1, Members: c.all}
	if _, err := InitFrom(c.ctx(), c.dirs[1], m, old, 0); err != nil {
		t.Fatal(err)
	}
	c.start(1)
	trader = c.trader(1)
	order(t, trader, 200)
	c.opens(trader, 6)
	if now := c.nodes[1].settled(); now <= was {
		t.Errorf("the cluster is at event %d, the single node ended at %d", now, was)
	}
	c.add(false)
	c.add(false)
	c.roles("voter 1, voter 2, voter 3")
	order(t, trader, 201)
	c.opens(trader, 7)
	c.agree()

	for want, f := range map[string]func() (Membership, error){
		"add the others": func() (Membership, error) { return InitFrom(c.ctx(), t.TempDir(), three(), old, 0) },
		"needs another identity": func() (Membership, error) {
			of := old
			of.DataDir = c.dirs[1]
			return InitFrom(c.ctx(), t.TempDir(), m, of, 0)
		},
		"of a member already": func() (Membership, error) { return InitFrom(c.ctx(), c.dirs[1], m, old, 0) },
		"cannot read the directory": func() (Membership, error) {
			of := old
			of.DataDir = t.TempDir()
			return InitFrom(c.ctx(), t.TempDir(), m, of, 0)
		},
	} {
		if _, err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}
