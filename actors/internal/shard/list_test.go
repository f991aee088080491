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
		lists = append(lists, &Listing{Now: 10_000, Next: 1, Done: make(chan struct{}),
			Conns: Ranked[Figures]{Rank: func(f *Figures) int64 { return int64(f.Age) }, Top: make([]Figures, 0, 5)}})
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
		if l.Open != n-1 || len(l.Conns.Top) != 5 || l.Conns.Top[0].Conn != 5 {
			t.Errorf("%d open, %+v", l.Open, l.Conns.Top)
		}
	}
	if steps != 4 || allocs != 0 {
		t.Errorf("%d steps, %v allocations", steps, allocs)
	}
}

// A list of topics takes bounded steps, whatever the numbers of connections, topics and subscriptions.
func TestTopicListTakesBoundedSteps(t *testing.T) {
	const conns, topics = 3 * listBatch, 2 * listBatch
	e := &Shard{table: table{conns: make([]transport.Conn, 1+conns)}}
	for i := 1; i <= conns; i++ {
		e.table.conns[i].Open(uint64(i), 0, 0, 0)
		for k := range 4 { // sets of four topics that follow one another
			e.addTopic(uint32(i), e.topic(uint64((i+k)%topics), 0), ModeRecover, 0)
		}
	}
	for i := range uint64(3 * listBatch) {
		e.await(5, missing{topic: i % topics})
	}
	l := &Listing{Done: make(chan struct{}), Topics: &TopicListing{Topics: Ranked[TopicFigures]{
		Rank: func(f *TopicFigures) int64 { return int64(f.Topic) }, Top: make([]TopicFigures, 0, 5)}}}
	e.list = l
	steps := 0
	for before := (Listing{}); e.fillList(0) > 0; steps++ {
		if l.Topics.phase == before.Next && l.Next-before.Open > listBatch {
			t.Fatalf("step %d went from %d to %d", steps, before.Open, l.Next)
		}
		before.Next, before.Open = l.Topics.phase, l.Next
	}
	<-l.Done
	want := (conns+3*listBatch)/listBatch + topics*5/listBatch + topics/listBatch
	if steps < want-3 || steps > want+3 || l.Topics.Known != topics {
		t.Errorf("%d topics in %d steps, want %d in about %d", l.Topics.Known, steps, topics, want)
	}
	for _, f := range l.Topics.Topics.Top {
		if f.Topic < topics-5 || f.Feeds != 4 || f.Waiting != 1 || f.Subscribers != 4 {
			t.Errorf("%+v", f)
		}
	}
}
