package raftlog

import (
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"sluice/durability"
	"sluice/durability/journal"
)

// entryOf is the record of an entry with a batch of events, all of them with the term as their content.
func entryOf(term, index uint64, first, count int) []byte {
	var b builder
	for range count {
		b.add([]byte(fmt.Sprint("term ", term)))
	}
	e := &pb.Entry{Term: new(term), Index: new(index), Type: pb.EntryNormal.Enum()}
	if count > 0 {
		e.Data = b.seal(durability.Seq(first), term)
	}
	return appendEntryRecord(nil, e)
}

func hardOf(commit uint64) []byte {
	return appendHardRecord(nil, &pb.HardState{Term: new(uint64(9)), Vote: new(uint64(1)), Commit: new(commit)})
}

// numbered are records of a journal from a number on.
func numbered(first uint64, records ...[]byte) iter.Seq2[journal.Event, error] {
	return func(yield func(journal.Event, error) bool) {
		for i, payload := range records {
			if !yield(journal.Event{Seq: durability.Seq(first + uint64(i)), Payload: payload}, nil) {
				return
			}
		}
	}
}

// told are the events of a Past, each as number:content.
func told(t *testing.T, p *Past, records iter.Seq2[journal.Event, error]) string {
	t.Helper()
	var all []string
	for ev, err := range p.events(records) {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprint("term ", ev.Term); string(ev.Payload) != want {
			t.Errorf("event %d of term %d is %q", ev.Seq, ev.Term, ev.Payload)
		}
		all = append(all, fmt.Sprintf("%d:%d", ev.Seq, ev.Term))
	}
	return strings.Join(all, " ")
}

func TestPastIsWhatWasNotReplaced(t *testing.T) {
	snap := func(index uint64, seq durability.Seq) []byte {
		return appendSnapshotRecord(nil, Meta{Term: 1, Index: index, Seq: seq})
	}
	for _, c := range []struct {
		name            string
		first, snapshot uint64
		newest          *Meta
		records         [][]byte
		want            string
		committed       durability.Seq
		term, index     uint64
	}{
		{"nothing", 0, 0, nil, nil, "", 0, 0, firstIndex},
		{"a tail that another leader replaced", 1, 0, nil, [][]byte{entryOf(1, 2, 0, 0), entryOf(1, 3, 1, 2),
			entryOf(1, 4, 3, 2), hardOf(3), entryOf(2, 4, 3, 1), entryOf(2, 5, 4, 1)}, "1:1 2:1 3:2 4:2", 2, 2, 5},
		{"an entry without events at the end", 1, 0, nil, [][]byte{entryOf(1, 2, 1, 1), entryOf(1, 3, 2, 1),
			hardOf(3), entryOf(2, 4, 0, 0)}, "1:1 2:1", 2, 2, 4},
		{"a snapshot of its own in the middle", 1, 2, &Meta{Term: 1, Index: 3, Seq: 2, Commit: 3},
			[][]byte{entryOf(1, 2, 1, 1), entryOf(1, 3, 2, 1), entryOf(1, 4, 3, 1)}, "1:1 2:1 3:1", 2, 1, 4},
		{"a begin that was removed, with an entry that was replaced", 7, 9,
			&Meta{Term: 2, Index: 11, Seq: 31},
			[][]byte{entryOf(1, 12, 32, 1), entryOf(2, 10, 30, 1), entryOf(2, 11, 31, 1), entryOf(2, 12, 32, 1)},
			"30:2 31:2 32:2", 31, 2, 12},
		{"only a snapshot", 0, 9, &Meta{Term: 2, Index: 11, Seq: 31}, nil, "", 31, 2, 11},
		{"records after a snapshot only", 10, 9, &Meta{Term: 2, Index: 11, Seq: 31},
			[][]byte{entryOf(2, 12, 32, 1)}, "32:2", 31, 2, 12},
		{"a received snapshot", 1, 2, &Meta{Term: 1, Index: 20, Seq: 50},
			[][]byte{entryOf(1, 2, 1, 3), snap(20, 50), entryOf(2, 21, 51, 1)}, "51:2", 50, 2, 21},
		{"a received snapshot in the place of an entry that was replaced", 1, 3, &Meta{Term: 2, Index: 3, Seq: 1},
			[][]byte{entryOf(1, 2, 1, 1), entryOf(1, 3, 2, 4), snap(3, 1), entryOf(2, 4, 2, 1)}, "2:2", 1, 2, 4},
		{"a received snapshot before the newest", 1, 3, &Meta{Term: 2, Index: 21, Seq: 51},
			[][]byte{entryOf(1, 2, 1, 3), snap(20, 50), entryOf(2, 21, 51, 1), entryOf(2, 22, 52, 1)},
			"51:2 52:2", 51, 2, 22},
		{"a received snapshot that was not installed", 1, 0, nil,
			[][]byte{entryOf(1, 2, 1, 3), snap(20, 50), entryOf(1, 3, 4, 1)}, "1:1 2:1 3:1 4:1", 0, 1, 3},
		{"one that was not installed before a snapshot", 1, 3, &Meta{Term: 1, Index: 3, Seq: 4},
			[][]byte{entryOf(1, 2, 1, 3), snap(20, 50), entryOf(1, 3, 4, 1), entryOf(1, 4, 5, 1)}, "5:1", 4, 1, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &Past{Newest: c.newest}
			if err := p.read(c.first, c.snapshot, numbered(c.first, c.records...)); err != nil {
				t.Fatal(err)
			}
			if got := told(t, p, numbered(c.first, c.records...)); got != c.want {
				t.Errorf("events %s, want %s", got, c.want)
			}
			if p.Committed != c.committed || p.Term != c.term || p.Index != c.index {
				t.Errorf("committed %d, last entry %d of term %d; want %d, %d of term %d", p.Committed, p.Index, p.Term,
					c.committed, c.index, c.term)
			}
			if from, to, _ := strings.Cut(c.want, " "); from != "" && (!strings.HasPrefix(from, fmt.Sprintf("%d:", p.First)) ||
				!strings.Contains(" "+from+" "+to, fmt.Sprintf(" %d:", p.Last))) {
				t.Errorf("events %d to %d, want %s", p.First, p.Last, c.want)
			}
		})
	}
}

func TestPastNamesWhatIsWrong(t *testing.T) {
	damaged := entryOf(1, 3, 2, 1)
	damaged[len(damaged)-1] ^= 1
	for want, records := range map[string][][]byte{
		"record 1 of the journal: raftlog: the journal has a record that no node of a cluster wrote": {{2, 1, 0}},
		"record 2 of the journal: entry 3: raftlog: entry is no batch of events: checksum":           {entryOf(1, 2, 1, 1), damaged},
		"record 2 of the journal: entry 4 follows entry 2; a snapshot that was received is missing":  {entryOf(1, 2, 1, 1), entryOf(1, 4, 2, 1)},
		"entry 3 begins with event 3 behind event 1":                                                 {entryOf(1, 2, 1, 1), entryOf(1, 3, 3, 1)},
		"entries up to index 2, and says that those up to 3 are committed: its end is missing":       {entryOf(1, 2, 1, 1), hardOf(3)},
		"entry 0; the first one is 1": {entryOf(1, 0, 1, 1)},
	} {
		p := new(Past)
		if err := p.read(1, 0, numbered(1, records...)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// What the journals of running nodes have is what the nodes have, with snapshots of their own and
// received ones.
func TestPastOfRealJournals(t *testing.T) {
	c := newTrio(t)
	id, l := c.leader()
	ring := new(Ring)
	l.Propose(ring)
	c.propose(l, ring, 1, 40, "persisted>=3")
	check := func(node uint64, snapshot, first, last durability.Seq) {
		t.Helper()
		log, err := journal.Inspect(filepath.Clean(c.dirs[node]))
		if err != nil {
			t.Fatal(err)
		}
		p, err := ReadPast(log)
		if err != nil {
			t.Fatal(err)
		}
		if (p.Newest != nil) != (snapshot != 0) || snapshot != 0 && p.Newest.Seq != snapshot || p.First != first ||
			p.Last != last || p.Committed < snapshot || p.Committed > last {
			t.Errorf("node %d: snapshot %+v, events %d to %d, committed %d; want %d, %d to %d", node, p.Newest, p.First, p.Last,
				p.Committed, snapshot, first, last)
		}
		next := first
		for ev, err := range p.Events() {
			if err != nil {
				t.Fatal(err)
			}
			if ev.Seq != next || string(ev.Payload) != fmt.Sprintf("event %d", ev.Seq) || ev.Term == 0 || ev.Index == 0 {
				t.Errorf("node %d: event %d of term %d, index %d is %q; want event %d", node, ev.Seq, ev.Term, ev.Index,
					ev.Payload, next)
			}
			next++
		}
		if next != last+1 {
			t.Errorf("node %d: the events end before %d, want %d", node, next, last+1)
		}
	}
	for node := range uint64(3) {
		check(node+1, 0, 1, 40)
	}
	for _, seq := range []durability.Seq{10, 20, 30} {
		if err := c.snapshot(id, seq, "state"); err != nil {
			t.Fatal(err)
		}
	}
	check(id, 30, 1, 40) // the segment is kept: the journal still has all
	c.stop(id)
	check(id, 30, 1, 40)
}
