package shard

import (
	"testing"

	"sluice/transport"
)

// A list takes a bounded part of each step, regardless of the number of connections, and allocates
// nothing.
func TestListTakesBoundedSteps(t *testing.T) {
	const n = 3*listBatch + 10
	e := &Shard{table: table{conns: make([]transport.Conn, 1+n)}}
	for i := 1; i <= n; i++ {
		e.table.conns[i].Open(uint64(i), 0, 0, int64(i))
	}
	e.table.conns[7].State = 0      // free
	lists := make([]*Listing, 0, 2) // AllocsPerRun runs once to warm up
	for range cap(lists) {
		lists = append(lists, &Listing{Rank: func(f *Figures) int64 { return int64(f.Age) },
			Now: 10_000, Next: 1, Top: make([]Figures, 0, 5), Done: make(chan struct{})})
	}
	next, steps := 0, 0
	allocs := testing.AllocsPerRun(1, func() {
		l := lists[next]
		e.list, next = l, next+1
		// Time passes; ages refer to the request.
		for steps = 0; e.fillList(int64(10_000*(steps+1))) > 0; steps++ {
			if l.Next > 1+(steps+1)*listBatch {
				t.Fatalf("step %d looked at %d entries", steps, l.Next)
			}
		}
	})
	for _, l := range lists {
		<-l.Done
		if l.Open != n-1 || len(l.Top) != 5 || l.Top[0].Conn != 5 {
			t.Errorf("%d open, %+v", l.Open, l.Top)
		}
	}
	if steps != 4 || allocs != 0 {
		t.Errorf("%d steps, %v allocations", steps, allocs)
	}
}
