package raftlog_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"testing/cryptotest"

	"sluice/durability"
	"sluice/durability/raftlog/raftsim"
)

// world is a cluster of processes with its clients.
type world struct {
	*raftsim.World
	processes []*process
	policy    durability.Policy
	counts    simCounts
	step      int
	tight     bool   // bounds of memory are small
	goal      uint64 // content of the last event of the calm end
	content   uint64 // of the last event a client sent
}

func newWorld(t *testing.T, seed uint64) *world {
	cryptotest.SetGlobalRandom(t, seed)
	w := &world{World: raftsim.NewWorld(seed), tight: seed%3 == 0}
	n := []int{3, 3, 3, 5}[w.R.IntN(4)]
	texts := []string{"persisted>=2", "persisted>=2 && in_memory>=3", "in_memory>=2", "persisted>=3"}
	if n == 5 {
		texts = []string{"persisted>=3", "in_memory>=3", "persisted>=3 && in_memory>=4"}
	}
	text := texts[w.R.IntN(len(texts))]
	var err error
	if w.policy, err = durability.Parse(text, n); err != nil {
		t.Fatal(err)
	}
	w.Judge.Safe = text[0] == 'p'
	w.AddMachines(n, binary.LittleEndian.Uint64, contents)
	for _, m := range w.Machines {
		w.processes = append(w.processes, &process{Machine: m, w: w})
	}
	for _, p := range w.processes {
		p.start()
	}
	return w
}

func (w *world) run() {
	for w.step = 0; w.step < simSteps && w.Failure() == ""; w.step++ {
		w.turn()
		w.faults()
	}
	w.EndFaults()
	for _, p := range w.processes {
		if p.Broken() && p.Node != nil { // what it was told to write is missing
			p.crash()
		}
		if p.Node == nil {
			p.start()
		}
	}
	w.goal = w.content + 20
	for w.step = 0; w.step < simCalm && w.Failure() == "" && !w.finished(); w.step++ {
		w.turn()
		for _, p := range w.processes {
			if p.Node == nil { // its disk had failed before
				p.start()
			}
		}
	}
	if w.Failure() == "" && !w.finished() {
		w.Fail("%d steps after the last fault the nodes do not agree: %s (C9)", simCalm, w.describe())
	}
	for _, p := range w.processes {
		w.past(p)
	}
	if w.Failure() == "" {
		w.Judge.End()
	}
	w.counts.Counts = w.Counts
	w.counts.Acked, w.counts.Committed = w.Judge.Answered, w.Judge.Committed
}

func (w *world) turn() {
	w.Pass()
	if p := w.processes[w.R.IntN(len(w.processes))]; p.Node != nil {
		p.act()
	}
}

func (w *world) faults() {
	p := w.processes[w.R.IntN(len(w.processes))]
	switch {
	case p.Node == nil:
		if w.OneIn(40) {
			p.start()
		}
	case w.OneIn(900):
		p.crash()
	case w.OneIn(700) && p.lead != nil:
		w.counts.Transfers++
		p.Node.Transfer(0)
	}
	if w.OneIn(300) {
		w.counts.Cuts++
		for _, l := range w.processes {
			if l.lead != nil && w.OneIn(2) { // its last events are in no other log
				p = l
			}
		}
		w.Links.Isolate(p.Machine)
	}
	if w.OneIn(600) {
		w.Links.Heal()
	}
	for _, p := range w.processes {
		if p.Node != nil && p.Node.Holds() {
			w.counts.Held++
		}
	}
}

// finished reports that new events were answered after the faults, and all nodes have them.
func (w *world) finished() bool {
	if w.content < w.goal {
		return false
	}
	for _, p := range w.processes {
		if p.Node == nil || len(p.state) != len(w.Judge.Log) || p.settle != nil || len(p.sent) > 0 {
			return false
		}
	}
	return true
}

func (w *world) describe() (s string) {
	for _, p := range w.processes {
		if p.Node != nil {
			s += fmt.Sprintf("[node %d %+v, state %d, committed %d] ", p.ID, p.Node.Status(), len(p.state),
				len(w.Judge.Log))
		}
	}
	return s
}
