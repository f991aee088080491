package raftlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"sluice/durability"
	"sluice/durability/journal"
)

// trio is three nodes over real journals, stepped by the test. Frames reach their node in the next
// round, unless the link is cut.
type trio struct {
	t      *testing.T
	dirs   []string
	nodes  [4]*Node // by number
	stores [4]*JournalStore
	logs   [4]*journal.Journal
	ran    [4]chan error
	starts [4]uint64
	frames []trioFrame
	silent map[uint64]bool
	wake   chan struct{}
	now    int64
}

type trioFrame struct {
	from, to, incarnation uint64
	data                  []byte
}

func newTrio(t *testing.T) *trio {
	c := &trio{t: t, silent: map[uint64]bool{}, wake: make(chan struct{}, 1), now: 1}
	dir := t.TempDir()
	for i := range 4 {
		c.dirs = append(c.dirs, filepath.Join(dir, fmt.Sprint(i)))
	}
	for id := range uint64(3) {
		c.start(id + 1)
	}
	t.Cleanup(func() {
		for id := range uint64(3) {
			c.stop(id + 1)
		}
	})
	return c
}

func (c *trio) start(id uint64) {
	c.t.Helper()
	j, found, err := journal.Open(journal.Options{Dir: c.dirs[id], SegmentBytes: 64 << 10})
	if err != nil {
		c.t.Fatal(err)
	}
	c.logs[id], c.stores[id], c.ran[id] = j, NewJournalStore(j, found, nil), make(chan error, 1)
	c.starts[id] = found.Incarnation
	n, err := Open(Options{ID: id, First: voters(1, 2, 3), Store: c.stores[id], Wake: c.awake,
		Election: time.Second, DiskStall: time.Hour, // of a clock that goes on while the real disk works
		Send: func(to uint64, _ Lane, frame []byte) {
			if !c.silent[id] && !c.silent[to] {
				c.frames = append(c.frames, trioFrame{id, to, c.starts[id], frame})
			}
		}})
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes[id] = n
	store, ran := c.stores[id], c.ran[id]
	go func() { ran <- store.Run() }()
}

func (c *trio) awake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// stop ends a node in order.
func (c *trio) stop(id uint64) {
	if c.nodes[id] == nil {
		return
	}
	_ = c.nodes[id].Close()
	c.nodes[id] = nil
	c.stores[id].Close()
	if err := <-c.ran[id]; err != nil {
		c.t.Error(err)
	}
	if err := c.logs[id].Close(); err != nil {
		c.t.Error(err)
	}
}

// round steps every node once, lets 1 ms pass, and delivers what was sent.
func (c *trio) round() (work int) {
	c.now += int64(time.Millisecond)
	frames := c.frames
	c.frames = nil
	for _, f := range frames {
		if f.to >= uint64(len(c.nodes)) {
			continue // a member that has no process
		}
		if n := c.nodes[f.to]; n != nil {
			if err := n.Receive(f.from, f.incarnation, f.data); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	for _, n := range c.nodes[1:] {
		if n != nil {
			work += n.Step(c.now)
		}
	}
	return work
}

// until runs rounds until a condition holds. It lets disks answer when nothing else is to do.
func (c *trio) until(what string, done func() bool) {
	c.t.Helper()
	for range 20_000 {
		if done() {
			return
		}
		if c.round() == 0 && len(c.frames) == 0 {
			select {
			case <-c.wake:
			case <-time.After(time.Millisecond):
			}
		}
	}
	c.t.Fatalf("it never happened: %s", what)
}

// leader waits for a leadership and returns it with the node's number. The state machines of all nodes
// apply what comes before.
func (c *trio) leader() (id uint64, l *Leadership) {
	c.t.Helper()
	c.until("a leadership", func() bool {
		for i, n := range c.nodes {
			if n == nil {
				continue
			}
			items, _ := n.Feed().Take()
			for _, item := range items {
				if item.Lead != nil {
					id, l = uint64(i), item.Lead
				} else {
					n.Applied(item.Index)
				}
			}
		}
		return l != nil
	})
	return id, l
}

func position(t *testing.T, l *Leadership, policy string) durability.Seq {
	p, err := durability.Parse(policy, 3)
	if err != nil {
		t.Fatal(err)
	}
	var v durability.View
	if !l.Cursors.Snapshot(&v) {
		return 0
	}
	return p.Evaluate(&v).Position
}

func TestEventsReachAllDisksAndSurvive(t *testing.T) {
	c := newTrio(t)
	id, l := c.leader()
	ring := new(Ring)
	for i := range 500 {
		ring.Events = append(ring.Events, []byte(fmt.Sprintf("event %d", i+1)))
	}
	l.Propose(ring)
	c.until("three copies", func() bool { return position(t, l, "persisted>=3") == 500 })
	if l.Confirmed() > 500 || l.Last != 0 {
		t.Errorf("confirmed %d after %d", l.Confirmed(), l.Last)
	}
	c.stop(id) // the leader dies, and the others go on
	second, l2 := c.leader()
	if l2.Last != 500 || second == id {
		t.Errorf("node %d leads after event %d, want another one than %d after 500", second, l2.Last, id)
	}
	ring2 := &Ring{Events: [][]byte{[]byte("event 501")}}
	l2.Propose(ring2)
	c.until("two copies", func() bool { return position(t, l2, "persisted>=2") == 501 })
	c.start(id) // and what it missed comes to it
	got := map[durability.Seq]string{}
	c.until("all events at the node that was down", func() bool {
		items, _ := c.nodes[id].Feed().Take()
		for _, item := range items {
			for seq, e := range item.Batch.Events() {
				got[seq] = string(e)
			}
			c.nodes[id].Applied(item.Index)
		}
		return len(got) == 501
	})
	for seq, e := range got {
		if e != fmt.Sprintf("event %d", seq) {
			t.Errorf("event %d is %q", seq, e)
		}
	}
}

func TestOfficeIsHandedOver(t *testing.T) {
	c := newTrio(t)
	id, l := c.leader()
	c.nodes[id].Transfer(0)
	next, l2 := c.leader()
	if next == id || l2.Term <= l.Term {
		t.Errorf("node %d leads in term %d after node %d in term %d", next, l2.Term, id, l.Term)
	}
	select {
	case <-l.Ended():
	default:
		t.Error("the old leadership has not ended")
	}
	if got := position(t, l, "in_memory>=1"); got != 0 {
		t.Errorf("the cursors of the old leadership still release up to %d", got)
	}
}

// A receipt moves the in_memory cursor only in the term, and from the incarnation, that sent it.
func TestReceiptsOfOtherTimesDoNotCount(t *testing.T) {
	c := newTrio(t)
	id, l := c.leader()
	ring := &Ring{Events: [][]byte{[]byte("1"), []byte("2")}}
	l.Propose(ring)
	c.until("three copies", func() bool { return position(t, l, "persisted>=3") == 2 })
	n, p := c.nodes[id], &c.nodes[id].peers[0]
	last := n.log.lastPlace()
	feed := func(incarnation, term, index uint64) {
		if err := n.Receive(p.id, incarnation, receiptFrame(term, index)); err != nil {
			t.Fatal(err)
		}
		n.Step(c.now)
	}
	feed(c.starts[p.id], l.Term, last+1)
	if p.received != last+1 {
		t.Fatalf("a receipt for index %d was not taken: %d", last+1, p.received)
	}
	feed(c.starts[p.id], l.Term-1, last+7)
	feed(c.starts[p.id]-1, l.Term, last+8)
	if p.received != last+1 {
		t.Errorf("a receipt of another term or an older incarnation was taken: %d", p.received)
	}
	feed(c.starts[p.id]+1, l.Term-1, last+9)
	if p.received != 0 {
		t.Errorf("the node has restarted, and its memory still counts: %d", p.received)
	}
}

// A node that was not heard of is out of the view, so that a policy that needs it says so.
func TestSilentNodeLeavesTheView(t *testing.T) {
	c := newTrio(t)
	id, l := c.leader()
	other := id%3 + 1
	var v durability.View
	nodes := func() int { l.Cursors.Snapshot(&v); return v.Len }
	c.until("three in view", func() bool { return nodes() == 3 })
	c.silent[other] = true
	c.until("two in view", func() bool { return nodes() == 2 })
	c.silent[other] = false
	c.until("three in view again", func() bool { return nodes() == 3 })
}

// A node that comes back without entries that it has acknowledged says so, and takes no further part.
func TestNodeThatLostItsLogSaysSo(t *testing.T) {
	c := newTrio(t)
	id, l := c.leader()
	ring := new(Ring)
	l.Propose(ring)
	c.propose(l, ring, 1, 5, "persisted>=3")
	away := id%3 + 1
	c.stop(away)
	if err := os.RemoveAll(c.dirs[away]); err != nil {
		t.Fatal(err)
	}
	c.start(away)
	var said error
	c.until("the end of the node that lost its log", func() bool {
		items, _ := c.nodes[away].Feed().Take()
		for _, item := range items {
			said = errors.Join(said, item.Err)
		}
		return said != nil
	})
	want := fmt.Sprintf("node %d has confirmed entry", away)
	if !strings.Contains(said.Error(), want) || !strings.Contains(said.Error(), "ends with entry 1:") {
		t.Errorf("it said %q, want %q", said, want)
	}
}

func TestWrongOptionsAreRefused(t *testing.T) {
	good := Options{ID: 1, First: voters(1, 2, 3), Store: new(JournalStore), Send: func(uint64, Lane, []byte) {}}
	for want, change := range map[string]func(*Options){
		"needs Store and Send":  func(o *Options) { o.Store = nil },
		"2 voters":              func(o *Options) { o.First = voters(1, 2) },
		"name each once":        func(o *Options) { o.First = voters(1, 1, 2) },
		"numbers from 1 to 31":  func(o *Options) { o.First = voters(1, 2, 32) },
		"node 32 of generation": func(o *Options) { o.ID = 32 },
		"generation 16":         func(o *Options) { o.ID = 1 | 16<<8 },
		"election time of 1ms":  func(o *Options) { o.Election = time.Millisecond },
		"BatchBytes is -1":      func(o *Options) { o.BatchBytes = -1 },
		"use 1 to 1048558":      func(o *Options) { o.BatchBytes = journal.MaxPayloadBytes },
		"use 1 to 1000":         func(o *Options) { o.BatchBytes, o.Bounds.MessageBytes = 1001, 1000 },
		"Window is -1":          func(o *Options) { o.Window = -1 },
	} {
		o := good
		change(&o)
		if _, err := Open(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestNonsenseOfAPeerIsRefused(t *testing.T) {
	c := newTrio(t)
	m, err := messageFrame(&pb.Message{Type: pb.MsgHeartbeat.Enum(), From: new(uint64(3)), To: new(uint64(1))})
	if err != nil {
		t.Fatal(err)
	}
	for _, frame := range [][]byte{nil, {9}, {frameMessage, 0xff}, {frameReceipt, 1}, m} {
		if err := c.nodes[1].Receive(2, 1, frame); err == nil {
			t.Errorf("frame % x was taken", frame)
		}
	}
}

// A store that fails ends the node, and nothing of what it did not write is acknowledged.
func TestFailedStoreEndsTheNode(t *testing.T) {
	c := newTrio(t)
	id, l := c.leader()
	broken := errors.New("broken")
	c.nodes[id].in.put(func() {
		c.nodes[id].in.commands = append(c.nodes[id].in.commands, func() { c.nodes[id].fail(broken) })
	})
	l.Propose(&Ring{Events: [][]byte{[]byte("1")}})
	n := c.nodes[id]
	c.until("the end of the node", n.Done)
	if !errors.Is(n.Err(), broken) || l.Confirmed() != 0 {
		t.Errorf("%v, confirmed %d", n.Err(), l.Confirmed())
	}
}

func TestTrailIsOneToTwoSecondsOld(t *testing.T) {
	const second = int64(time.Second)
	var tr trail
	for i := range int64(1000) { // every 10 ms the number is that of the look
		now := 5*second + i*second/100
		if got := tr.before(now, uint64(i)); i >= 200 && (got > uint64(i-100) || got < uint64(i-200)) {
			t.Fatalf("at look %d the number of a second or two ago is %d", i, got)
		}
	}
}

func TestSlowestForgets(t *testing.T) {
	const second = int64(time.Second)
	var s slowest
	s.add(10*second, 5*time.Millisecond)
	s.add(10*second+second/2, 7*time.Millisecond)
	s.add(10*second+second/2, 3*time.Millisecond)
	for at, want := range map[int64]time.Duration{0: 7 * time.Millisecond, second: 7 * time.Millisecond, 3 * second: 0} {
		one := s
		if got := one.read(10*second + second/2 + at); got != want {
			t.Errorf("%v later: %v, want %v", time.Duration(at), got, want)
		}
	}
}
