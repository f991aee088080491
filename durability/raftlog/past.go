package raftlog

import (
	"errors"
	"fmt"
	"io"
	"iter"

	pb "go.etcd.io/raft/v3/raftpb"

	"sluice/durability"
	"sluice/durability/journal"
)

// Damaged gives an error of the journal of a node the remedy of a node whose log others have too.
func Damaged(err error) error {
	var damage *journal.CorruptError
	if errors.As(err, &damage) && !damage.Backup {
		damage.Remedy = "the other members go on and have the log: replace this one with sluice cluster " +
			"replace. If no " +
			"majority of them is left, restore the directory of another one, or a backup"
	}
	return err
}

// Past is what the journal of a node has of the log: without the node, or beside it. It includes events
// that the node does not know to be committed; those may still be replaced.
type Past struct {
	Newest      *Meta          // of the newest intact snapshot; nil if there is none
	First, Last durability.Seq // events kept; 0 and 0 if there are none. Those up to Newest.Seq may be among them
	Committed   durability.Seq // last event that this node knows to be committed
	Term, Index uint64         // of the last entry, or of Newest if none follows it
	Begin       uint64         // index of the first entry kept; 0 if there is none
	Hard        Hard

	log    *journal.Log
	places []pastPlace // of the entries kept
	base   uint64      // index before the first one
	fixed  bool        // an entry up to base is in a snapshot; otherwise it is what was replaced
}

// Hard is the state of a node by which it votes.
type Hard struct {
	Term   uint64 // newest that the node knows
	Vote   uint64 // id of the node for which it has voted in Term; 0 for none
	Commit uint64 // index of the last entry that it knows to be committed
}

// pastPlace is an entry that was not replaced.
type pastPlace struct {
	record, term uint64
	first, last  durability.Seq // first event, 0 if it has none; last event up to and including the entry
}

// PastEvent is an event in its place in the log.
type PastEvent struct {
	Seq         durability.Seq
	Term, Index uint64 // of its entry
	Payload     []byte // valid until the next event
}

// ReadPast reads a journal once. The error names the record; the result then has what precedes it.
func ReadPast(log *journal.Log) (*Past, error) {
	p := &Past{log: log}
	err := log.Restore(func(r io.Reader) (err error) {
		p.Newest, err = ReadMeta(r)
		return err
	})
	if err == nil && p.Newest != nil {
		p.Hard = Hard{p.Newest.HardTerm, p.Newest.Vote, max(p.Newest.Commit, p.Newest.Index)}
	}
	return p, errors.Join(err, p.read(uint64(log.First), uint64(log.SnapshotSeq()), log.Events()))
}

// read reads the records from first on. snapshot is the number of that up to which Newest includes all.
func (p *Past) read(first, snapshot uint64, records iter.Seq2[journal.Event, error]) error {
	defer p.finish()
	switch {
	case p.Newest != nil && (first == 0 || first > snapshot):
		p.restart(p.Newest)
	case first <= 1:
		p.base, p.fixed = firstIndex, true
	}
	for ev, err := range records {
		if err != nil {
			return err
		}
		record := uint64(ev.Seq)
		op, err := parseRecord(ev.Payload)
		if err == nil {
			switch {
			case op.entry != nil:
				err = p.entry(op, record)
			case op.hard != nil:
				p.Hard.Commit = max(p.Hard.Commit, op.hard.GetCommit())
				if record > snapshot { // else Newest has what came later
					p.Hard.Term, p.Hard.Vote = op.hard.GetTerm(), op.hard.GetVote()
				}
			case record < snapshot:
				// If it was not installed, the log went on before it. Newest includes what is left out then.
				p.restart(op.snap)
			}
		}
		if err != nil {
			return fmt.Errorf("record %d of the journal: %w", record, err)
		}
		if record == snapshot && p.Newest != nil && !p.endsWith(p.Newest) {
			p.restart(p.Newest)
		}
	}
	if p.Hard.Commit > p.last() {
		return fmt.Errorf("raftlog: the journal has entries up to index %d, and says that those up to %d are "+
			"committed: its end is missing", p.last(), p.Hard.Commit)
	}
	return nil
}

// restart makes the log begin after a snapshot.
func (p *Past) restart(m *Meta) {
	p.base, p.fixed, p.places = m.Index, true, p.places[:0]
}

// endsWith reports that the last entry is the one of a snapshot. One that another node sent may take the place of
// an entry with the same index, of an earlier term.
func (p *Past) endsWith(m *Meta) bool {
	n := len(p.places)
	return p.last() == m.Index && n > 0 && p.places[n-1].term == m.Term
}

func (p *Past) last() uint64 { return p.base + uint64(len(p.places)) }

// entry appends an entry in the place of those from its index on.
func (p *Past) entry(op operation, record uint64) error {
	index, data := op.entry.GetIndex(), op.entry.GetData()
	switch {
	case index == 0:
		return errors.New("entry 0; the first one is 1")
	case index <= p.base && p.fixed:
		return nil
	case index <= p.base || p.base == 0:
		p.base, p.places = index-1, p.places[:0]
	case index > p.last()+1:
		return fmt.Errorf("entry %d follows entry %d; a snapshot that was received is missing: replace this node",
			index, p.last())
	}
	p.places = p.places[:index-p.base-1]
	if op.entry.GetType() != pb.EntryNormal {
		data = nil // it has no events
	}
	place := pastPlace{record: record, term: op.entry.GetTerm(), last: lastOf(data)}
	if len(data) > 0 {
		b, err := parseBatch(data, place.term)
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		place.first = b.First
	}
	before := p.lastEvent()
	if place.first != 0 && before != 0 && place.first != before+1 {
		return fmt.Errorf("entry %d begins with event %d behind event %d", index, place.first, before)
	}
	place.last = max(place.last, before)
	p.places = append(p.places, place)
	return nil
}

// lastEvent is the last event of the entries so far; 0 if they have none.
func (p *Past) lastEvent() durability.Seq {
	if n := len(p.places); n > 0 && p.places[n-1].last != 0 {
		return p.places[n-1].last
	}
	if p.Newest != nil && p.base == p.Newest.Index {
		return p.Newest.Seq
	}
	return 0
}

// finish fills in what the places say.
func (p *Past) finish() {
	p.Index = p.last()
	if n := len(p.places); n > 0 {
		p.Begin, p.Term = p.base+1, p.places[n-1].term
	} else if p.Newest != nil {
		p.Term = p.Newest.Term
	}
	for i, at := range p.places {
		if at.first == 0 {
			continue
		}
		if p.First == 0 {
			p.First = at.first
		}
		p.Last = at.last
		if p.base+1+uint64(i) <= p.Hard.Commit {
			p.Committed = at.last
		}
	}
	if p.Newest != nil {
		p.Committed = max(p.Committed, p.Newest.Seq)
	}
}

// Events iterates over the events kept, in order. An error ends it: journal.ErrRemoved if the running
// node has removed what comes next.
func (p *Past) Events() iter.Seq2[PastEvent, error] { return p.events(p.log.Events()) }

func (p *Past) events(records iter.Seq2[journal.Event, error]) iter.Seq2[PastEvent, error] {
	return func(yield func(PastEvent, error) bool) {
		next := 0
		for record, err := range records {
			if err != nil {
				yield(PastEvent{}, err)
				return
			}
			if next == len(p.places) {
				return
			}
			at := p.places[next]
			if uint64(record.Seq) != at.record {
				continue
			}
			next++
			if at.first == 0 {
				continue
			}
			b, err := parseBatch(record.Payload[entryRecord:], at.term)
			if err != nil {
				yield(PastEvent{}, fmt.Errorf("record %d of the journal: %w", at.record, err))
				return
			}
			for seq, payload := range b.Events() {
				if !yield(PastEvent{seq, at.term, p.base + uint64(next), payload}, nil) {
					return
				}
			}
		}
	}
}
