package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/actors/node"
	"sluice/actors/node/inspect"
	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/trade"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/durability/raftlog"
	"sluice/durability/raftlog/raftsim"
)

// made is the configuration of what wrote a data directory.
func made(t *testing.T, dir string) node.Config[orderbook.Report, orderbook.Answer] {
	t.Helper()
	books, err := orderbook.Factory(orderbook.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return node.Config[orderbook.Report, orderbook.Answer]{DataDir: dir, Application: books,
		Encoder: orderbook.Encoder{}}
}

// restored makes a new cluster of node id alone from a directory, and starts it.
func (c *trio) restored(id uint8, from string) {
	c.t.Helper()
	c.dirs[id] = filepath.Join(c.t.TempDir(), "restored")
	if _, err := InitFrom(c.ctx(), c.dirs[id], Membership{Cluster: ID{9}, Node: id, Members: c.all[id-1 : id]},
		made(c.t, from), 0); err != nil {
		c.t.Fatal(err)
	}
	c.start(id)
}

// inspected reads a directory.
func inspected(t *testing.T, dir string) *Inspected {
	t.Helper()
	book, err := orderbook.New(orderbook.Config{})
	if err != nil {
		t.Fatal(err)
	}
	i, err := Inspect(dir, book, 3)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// A backup of a running member becomes a new cluster, which goes on after its last event. Nodes of the old
// cluster cannot take part in it, and no id of theirs is given out again.
func TestRestoredClusterIsNewOne(t *testing.T) {
	var log lines
	c := newTrio(t, func(cfg *Config[orderbook.Report, orderbook.Answer]) {
		cfg.Node.SnapshotEvents, cfg.Node.Log = 8, slog.New(slog.NewTextHandler(&log, nil))
	})
	trader := c.trader(1)
	for i := range int64(20) {
		order(t, trader, 100+i)
	}
	id := c.leader()
	c.until("a snapshot", func() bool { return c.nodes[id].Log().Snapshot > 1 })
	order(t, trader, 150)
	c.until("all events on its disk", func() bool { return c.nodes[id].Log().Stored >= c.nodes[c.leader()].settled() })
	target := filepath.Join(t.TempDir(), "backup")
	if _, err := node.Backup(c.ctx(), c.dirs[id], target); err != nil {
		t.Fatal(err)
	}
	order(t, trader, 200) // after the backup
	_ = trader.Close()
	for n := uint8(1); n <= 3; n++ {
		c.stop(n)
	}
	was := inspected(t, target)
	if !was.Backup || was.Node != id || was.Generation != 0 || len(was.Members) != 3 || was.Err() != nil ||
		was.Last < 20 {
		t.Fatalf("%+v", was)
	}
	for to, want := range map[durability.Seq]string{
		1: "name an older backup", durability.Seq(was.Last) + 1: "is wanted"} {
		m := Membership{Cluster: ID{9}, Node: id, Members: c.all[id-1 : id]}
		if _, err := InitFrom(c.ctx(), filepath.Join(t.TempDir(), "x"), m, made(t, target), to); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("up to event %d: %v", to, err)
		}
	}
	c.restored(id, target)
	c.leader()
	if now := c.nodes[id].settled(); uint64(now) < was.Last {
		t.Errorf("the restored cluster is at event %d, the backup ends at %d", now, was.Last)
	}
	o := trade.Options{Account: 1}
	one, err := trade.Open(o, c.all[id-1].Client)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	c.opens(one, 21)
	order(t, one, 300)
	c.opens(one, 22)

	// A node of the old cluster finds the new one at the address of the old leader.
	old := id%3 + 1
	c.start(old)
	c.until("a refused link", func() bool {
		for _, s := range c.nodes[old].Links() {
			if s.Node == id && strings.Contains(s.Out.Error, "belongs to cluster") {
				return true
			}
		}
		return false
	})
	c.stop(old)
	if m := c.nodes[id].Membership(); m.Generation != 1 || m.Cluster != (ID{9}) ||
		len(c.nodes[id].Cluster().Members) != 1 {
		t.Errorf("%+v, %+v", m, c.nodes[id].Cluster())
	}

	// The old numbers are free, for new directories.
	for n := uint8(1); n <= 3; n++ {
		if m := c.all[n-1]; n != id {
			c.join(n, c.change(node.MemberChange{Verb: node.MemberAdd, Node: n, Peer: m.Peer, Client: m.Client}))
			if g := c.nodes[n].Membership().Generation; g != 1 {
				t.Errorf("node %d has generation %d", n, g)
			}
		}
	}
	c.roles("voter 1, voter 2, voter 3")
	order(t, one, 301)
	c.opens(one, 23)
	c.agree()
	for n := uint8(1); n <= 3; n++ {
		if log.has(fmt.Sprintf("node=%d ", raftlog.NodeID(n, 1))) {
			t.Errorf("a line names node %d by its id in the log", n)
		}
	}
	for n := uint8(1); n <= 3; n++ {
		if now := inspected(t, c.dirs[n]); now.Err() != nil || now.Cluster == was.Cluster || now.Last <= was.Last ||
			now.Policy != "persisted>=2" {
			t.Errorf("node %d: %+v", n, now)
		}
	}
}

// What a new cluster cannot be made from is refused.
func TestWrongSourceOfCluster(t *testing.T) {
	c := newTrio(t, nil)
	order(t, c.trader(1), 100)
	id := c.leader()
	m := Membership{Cluster: ID{9}, Node: 1, Members: c.all[:1]}
	refused := func(want, from string, m Membership) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "new")
		if _, err := InitFrom(c.ctx(), dir, m, made(t, from), 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%q: a directory was made", want)
		}
	}
	refused("a server has", c.dirs[id], m)
	for n := uint8(1); n <= 3; n++ {
		c.stop(n)
	}
	same := m
	same.Cluster = ID{1: 7, 15: 9}
	refused("needs another identity", c.dirs[id], same)
	refused("begins with one member", c.dirs[id], three())
	refused("cannot read the directory", t.TempDir(), m)

	// The number was given to as many directories as it can be.
	t1, err := readTable(c.dirs[id], &Membership{Cluster: ID{1: 7, 15: 9}, Node: id, Members: c.all})
	if err != nil {
		t.Fatal(err)
	}
	t1.Gone = append(t1.Gone, raftlog.NodeID(1, raftlog.MaxGeneration))
	if err := write(c.dirs[id], tableFile, t1.encode()); err != nil {
		t.Fatal(err)
	}
	refused("use another number", c.dirs[id], m)

	book, err := orderbook.New(orderbook.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var app inspect.Application = book
	if _, err := Inspect(t.TempDir(), app, 0); err == nil ||
		!strings.Contains(err.Error(), "not the data directory of a member") {
		t.Error(err)
	}
}

// A diverged leader has written a checkpoint that no other node can pass. A new cluster begins before it.
func TestRestoreEndsBeforeCheckpointOfDivergedLeader(t *testing.T) {
	c := newTrio(t, steady)
	trader := c.trader(1)
	for i := range int64(5) {
		order(t, trader, 100+i)
	}
	_ = trader.Close()
	id := c.leader()
	leader := c.nodes[id]
	c.until("the end of the connection", func() bool { return leader.settled() == leader.now.Load().Sequenced() })
	for n := uint8(1); n <= 3; n++ {
		c.stop(n)
	}
	was := inspected(t, c.dirs[id])
	j, _, err := journal.Open(journal.Options{Dir: filepath.Join(c.dirs[id], "journal")})
	if err != nil {
		t.Fatal(err)
	}
	checkpoint := sequencer.AppendEvent(nil, &sequencer.Event{Kind: sequencer.KindCheckpoint,
		Time: time.Now().UnixNano(),
		Body: make([]byte, 16)})
	if _, err := j.Writer().Append(raftsim.AppendEntry(nil, was.Member.Term, was.Member.Index+1, was.Last+1,
		checkpoint)); err != nil {
		t.Fatal(err)
	}
	_, err = j.Writer().Commit()
	if err = errors.Join(err, j.Close()); err != nil {
		t.Fatal(err)
	}
	m := Membership{Cluster: ID{9}, Node: id, Members: c.all[id-1 : id]}
	if _, err := InitFrom(c.ctx(), filepath.Join(t.TempDir(), "x"), m, made(t, c.dirs[id]), 0); !errors.Is(err,
		sequencer.ErrDiverged) {
		t.Fatalf("the whole log: %v", err)
	}
	from := c.dirs[id]
	c.dirs[id] = filepath.Join(t.TempDir(), "restored")
	if _, err := InitFrom(c.ctx(), c.dirs[id], m, made(t, from), durability.Seq(was.Last)); err != nil {
		t.Fatal(err)
	}
	c.start(id)
	c.opens(c.trader(1), 5)
}
