package raftlog_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"sluice/durability"
	"sluice/durability/journal"
	"sluice/durability/raftlog"
)

// events is the ring between a sequencer and the node.
type events []string

func (e *events) Next() ([]byte, bool) {
	if len(*e) == 0 {
		return nil, false
	}
	next := (*e)[0]
	*e = (*e)[1:]
	return []byte(next), true
}
func (e *events) Release() {}

// A cluster of one node: it leads at once, and an event is persisted when its disk has it. With three
// nodes, Send passes frames to the others and Receive takes theirs.
func Example() {
	dir, err := os.MkdirTemp("", "raftlog")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	j, found, err := journal.Open(journal.Options{Dir: filepath.Join(dir, "journal")})
	if err != nil {
		log.Fatal(err)
	}
	store, wake := raftlog.NewJournalStore(j, found, nil), make(chan struct{}, 1)
	go store.Run()
	node, err := raftlog.Open(raftlog.Options{ID: 1, First: raftlog.FirstMembers(raftlog.Member{ID: 1}), Store: store,
		Send: func(to uint64, lane raftlog.Lane, frame []byte) {},
		Wake: func() {
			select {
			case wake <- struct{}{}:
			default:
			}
		}})
	if err != nil {
		log.Fatal(err)
	}
	began := time.Now()
	var lead *raftlog.Leadership
	for {
		for node.Step(int64(time.Since(began))+1) > 0 {
		}
		items, _ := node.Feed().Take()
		for _, item := range items {
			if item.Lead != nil {
				lead = item.Lead
				lead.Propose(&events{"buy", "sell"})
			}
			node.Applied(item.Index)
		}
		var view durability.View
		if lead != nil && lead.Cursors.Snapshot(&view) && view.Nodes[0].Persisted == 2 {
			break
		}
		select {
		case <-wake:
		case <-time.After(10 * time.Millisecond):
		}
	}
	fmt.Println("two events are on disk")
	// Output: two events are on disk
}
