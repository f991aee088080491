package raftlog

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/cryptotest"

	"sluice/durability"
)

// world is a cluster with its clients and its judge.
type world struct {
	t       *testing.T
	r       *rand.Rand
	step    int
	now     int64
	nodes   []*simNode
	links   map[[2]int][]simFrame
	cut     map[[2]int]bool
	policy  durability.Policy
	safe    bool // the policy is of class committed
	counts  simCounts
	failure string
	hash    uint64
	calm    bool
	slow    int    // a disk works in one of slow turns
	goal    uint64 // content of the last event of the calm end

	content uint64                    // of the last event a client sent
	log     []uint64                  // content of every committed event, by number from 1; fixed by the first node that applied it
	acked   map[durability.Seq]uint64 // content of events whose response was released
	leaders map[uint64]uint64         // by term
}

type simFrame struct {
	incarnation uint64
	lane        Lane
	data        []byte
	snapshot    *Received // what comes before the frame; nil for nothing
}

func newWorld(t *testing.T, seed uint64) *world {
	cryptotest.SetGlobalRandom(t, seed)
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 77)), links: map[[2]int][]simFrame{}, cut: map[[2]int]bool{},
		acked: map[durability.Seq]uint64{}, leaders: map[uint64]uint64{}, now: 1}
	w.slow = []int{1, 1, 4, 16}[w.r.IntN(4)]
	n := []int{3, 3, 3, 5}[w.r.IntN(4)]
	texts := []string{"persisted>=2", "persisted>=2 && in_memory>=3", "in_memory>=2", "persisted>=3"}
	if n == 5 {
		texts = []string{"persisted>=3", "in_memory>=3", "persisted>=3 && in_memory>=4"}
	}
	text := texts[w.r.IntN(len(texts))]
	var err error
	if w.policy, err = durability.Parse(text, n); err != nil {
		t.Fatal(err)
	}
	w.safe = text[0] == 'p'
	for i := range n {
		w.nodes = append(w.nodes, &simNode{w: w, id: uint64(i + 1)})
	}
	for _, m := range w.nodes {
		m.start()
	}
	return w
}

func (w *world) fail(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf(format, args...)
	}
}

func (w *world) oneIn(n int) bool { return !w.calm && w.r.IntN(n) == 0 }

func (w *world) note(v uint64) { w.hash = (w.hash ^ v) * 0x9E3779B97F4A7C15 }

func (w *world) send(from, to, incarnation uint64, lane Lane, frame []byte) {
	key := [2]int{int(from), int(to)}
	if w.cut[key] || w.oneIn(40) {
		w.counts.Lost++
		return
	}
	q := w.links[key]
	if len(q) > 12 {
		w.counts.Dropped++
		q = q[1:]
	}
	f := simFrame{incarnation, lane, frame, nil}
	q = append(q, f)
	if w.oneIn(60) {
		w.counts.Duplicated++
		q = append(q, f)
	}
	if frame[0] == frameReceipt {
		w.counts.Receipts++
	}
	w.links[key] = q
}

// deliver takes one frame of a link; frames of different lanes may overtake one another.
func (w *world) deliver(key [2]int) {
	q := w.links[key]
	if len(q) == 0 {
		return
	}
	at := 0
	if w.oneIn(4) {
		at = w.r.IntN(len(q))
		for i := 0; i < at; i++ {
			if q[i].lane == q[at].lane { // a lane keeps its order
				at = i
			}
		}
	}
	f := q[at]
	w.links[key] = append(q[:at:at], q[at+1:]...)
	to := w.nodes[key[1]-1]
	if f.snapshot != nil {
		w.deliverSnapshot(w.nodes[key[0]-1], to, f)
		return
	}
	if to.node == nil {
		return
	}
	if f.incarnation != w.nodes[key[0]-1].incarnation {
		w.counts.StaleIncarnations++
	}
	if f.data[0] == frameReceipt && to.node.role.leads &&
		binary.LittleEndian.Uint64(f.data[1:]) != to.node.role.term {
		w.counts.OldReceipts++
	}
	if err := to.node.Receive(uint64(key[0]), f.incarnation, f.data); err != nil {
		w.fail("%v", err)
	}
}

func (w *world) run() {
	for w.step = 0; w.step < simSteps && w.failure == ""; w.step++ {
		w.turn()
		w.faults()
	}
	w.calm = true
	clear(w.cut)
	for _, m := range w.nodes {
		m.stalled = 0
		if m.broken && m.node != nil { // what it was told to write is missing
			m.crash()
		}
		if m.node == nil {
			m.start()
		}
	}
	w.goal = w.content + 20
	for w.step = 0; w.step < simCalm && w.failure == "" && !w.finished(); w.step++ {
		w.turn()
		for _, m := range w.nodes {
			if m.node == nil { // its disk had failed before
				m.start()
			}
		}
	}
	if w.failure == "" && !w.finished() {
		w.fail("%d steps after the last fault the nodes do not agree: %s (C9)", simCalm, w.describe())
	}
	for seq, content := range w.acked {
		if w.failure == "" && w.safe && (int(seq) > len(w.log) || w.log[seq-1] != content) {
			w.fail("event %d was answered and is lost (C3)", seq)
		}
	}
}

func (w *world) turn() {
	w.now += int64(w.r.IntN(400_000))
	for range 2 {
		from, to := 1+w.r.IntN(len(w.nodes)), 1+w.r.IntN(len(w.nodes))
		w.deliver([2]int{from, to})
	}
	if m := w.nodes[w.r.IntN(len(w.nodes))]; m.node != nil {
		m.act()
	}
}

func (w *world) faults() {
	m := w.nodes[w.r.IntN(len(w.nodes))]
	switch {
	case m.node == nil:
		if w.oneIn(40) {
			m.start()
		}
	case w.oneIn(900):
		m.crash()
	case w.oneIn(700) && m.lead != nil:
		w.counts.Transfers++
		m.node.Transfer(0)
	}
	if w.oneIn(300) {
		w.counts.Cuts++
		for _, l := range w.nodes {
			if l.lead != nil && w.oneIn(2) { // its last events are in no other log
				m = l
			}
		}
		for _, o := range w.nodes {
			if o != m {
				w.cut[[2]int{int(m.id), int(o.id)}] = true
				if w.oneIn(2) {
					w.cut[[2]int{int(o.id), int(m.id)}] = true
				}
			}
		}
	}
	if w.oneIn(600) {
		clear(w.cut)
	}
	for _, m := range w.nodes {
		if m.node != nil {
			if m.node.proposer.held != nil {
				w.counts.Held++
			}
		}
	}
}
