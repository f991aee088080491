package raftlog

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"sluice/durability"
	"sluice/durability/journal"
)

// events are n events of a size, which differ.
func events(n, size int) (all [][]byte) {
	for i := range n {
		all = append(all, bytes.Repeat([]byte{byte(i)}, size))
	}
	return all
}

// A batch ends before an event that its record has no room for, and the largest event has a record alone.
func TestBatchFitsARecordOfTheJournal(t *testing.T) {
	for name, made := range map[string][][]byte{
		"large events":          events(3, MaxEventBytes),
		"a large event follows": append(events(1, 100), events(2, MaxEventBytes)...),
		"many events":           events(1500, 1000),
		"two that just fit":     events(2, (MaxBatchBytes-batchHeader)/2-eventLength),
	} {
		t.Run(name, func(t *testing.T) {
			c := newTrio(t)
			id, l := c.leader()
			c.nodes[id].o.BatchBytes = MaxBatchBytes
			l.Propose(&Ring{Events: append([][]byte(nil), made...)})
			c.until("three copies", func() bool {
				for i, n := range c.nodes[1:] {
					if n.Err() != nil {
						t.Fatalf("node %d has ended: %v", i+1, n.Err())
					}
				}
				return position(t, l, "persisted>=3") == durability.Seq(len(made))
			})
			c.until("the commit", func() bool { return l.Confirmed() == durability.Seq(len(made)) })
			seq := 0
			for event, err := range c.nodes[id].Committed(Meta{}, durability.Seq(len(made))) {
				if err != nil || int(event.Seq) != seq+1 || !bytes.Equal(event.Payload, made[seq]) {
					t.Fatalf("event %d after event %d has %d B: %v", event.Seq, seq, len(event.Payload), err)
				}
				seq++
			}
			if seq != len(made) {
				t.Errorf("%d events are in the log, want %d", seq, len(made))
			}
		})
	}
}

// An event that no entry can hold ends the node that was given it, and no other.
func TestTooLargeEventEndsItsNodeAlone(t *testing.T) {
	c := newTrio(t)
	id, l := c.leader()
	l.Propose(&Ring{Events: append(events(1, 10), events(1, MaxEventBytes+1)...)})
	c.until("the end of the node", c.nodes[id].Done)
	want := fmt.Sprintf("event 2 has %d B; the log takes %d B", MaxEventBytes+1, MaxEventBytes)
	if err := c.nodes[id].Err(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
	c.stop(id)
	next, l := c.leader()
	l.Propose(&Ring{Events: events(1, 10)})
	c.until("two copies", func() bool { return position(t, l, "persisted>=2") == l.Last+1 })
	if next == id {
		t.Errorf("node %d leads, and has ended", next)
	}
}

// A write of more than the journal takes in one commit is one of several.
func TestLargeWriteIsCommittedInParts(t *testing.T) {
	dir := t.TempDir()
	j, found, err := journal.Open(journal.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	s := NewJournalStore(j, found, nil)
	const n = 24 // of 1 MiB each
	var entries []*pb.Entry
	for i := range uint64(n) {
		entries = append(entries, &pb.Entry{Term: new(uint64(1)), Index: new(firstIndex + 1 + i),
			Type: pb.EntryNormal.Enum(), Data: make([]byte, MaxBatchBytes)})
	}
	wrote := make(chan error, 1)
	s.Write(Write{Entries: entries, Sync: true, Done: func(err error) { wrote <- err }})
	s.Close()
	if err := s.Run(); err != nil {
		t.Error(err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := journal.Inspect(dir)
	if err != nil || log.Last != n {
		t.Errorf("the journal has %d records, want %d: %v", log.Last, n, err)
	}
}
