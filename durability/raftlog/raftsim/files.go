package raftsim

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"sluice/durability"
	"sluice/durability/journal"
	"sluice/durability/raftlog"
)

// Power is asked by a world whose machines have real files: their disks are then directories with a journal, and what
// the Machine has of its disk is what it must find there.
//
//	Machine.writes --> JournalStore --> journal --> directory --Power--> what is left of it
//	     |                                                                    |
//	     +--> records, snapshots on the disk  <---- compared at the start ----+
type Power interface {
	// Fresh makes an empty directory.
	Fresh() string
	// Lost reports that nothing reaches a directory any more.
	Lost(dir string) bool
	// Left ends the use of a directory, and returns one with what is left of it.
	Left(dir string) string
}

// segmentBytes is the size of a segment of a real journal: small, so that there are many.
const segmentBytes = 4 << 10

// files are the open files of a process.
type files struct {
	journal *journal.Journal
	found   *journal.Recovery
	store   *raftlog.JournalStore
	ran     chan error
	lost    bool // the power was lost: the process ends before it does anything else

	mu   sync.Mutex // guards hold
	hold func()     // called by the store's goroutine in its first write, nil for nothing
}

// OpenFiles opens the journal in the directory of a machine with real files, and compares it with what must be there.
// False: the power was lost, or the world has failed.
func (m *Machine) OpenFiles() (ok bool) {
	j, found, err := journal.Open(journal.Options{Dir: filepath.Join(m.Dir, "journal"), SegmentBytes: segmentBytes})
	if m.w.Power.Lost(m.Dir) {
		if err == nil {
			_ = j.Close()
		}
		return false
	}
	if err != nil {
		m.w.Fail("node %d does not open its journal: %v", m.ID, err)
		return false
	}
	f := &files{journal: j, found: found, ran: make(chan error, 1)}
	f.store = raftlog.NewJournalStore(j, found, f.begins)
	m.files = f
	go func() { f.ran <- f.store.Run() }()
	if err := m.recover(found); err != nil && !m.PowerLost() {
		m.w.Fail("node %d, in %s: %v (%v)", m.ID, m.Dir, err, found.Notes)
		return false
	}
	return true
}

// Recovered is what the journal had when the files were opened.
func (m *Machine) Recovered() *journal.Recovery { return m.files.found }

// StopFiles ends a process in order: what it gave to its store is on disk.
func (m *Machine) StopFiles() {
	f := m.files
	f.store.Close()
	err := errors.Join(<-f.ran, f.journal.Close())
	if !m.PowerLost() {
		m.harden(m.pending)
		m.pending = nil
		if err != nil {
			m.w.Fail("node %d does not stop: %v", m.ID, err)
		}
	}
	m.ended[m.Incarnation] = m.Memory
	m.Node, m.files = nil, nil
}

// Arrives takes notice of the file of a received snapshot that is given to the node.
func (m *Machine) Arrives(index uint64, content func(io.Writer) error) { m.sources[index] = content }

// PowerLost reports that the process has lost its power.
func (m *Machine) PowerLost() bool {
	f := m.files
	if f != nil && !f.lost {
		f.lost = m.w.Power.Lost(m.Dir)
	}
	return f != nil && f.lost
}

// CloseFiles ends the process's use of its files, without another write, and begins what is left of them.
func (m *Machine) CloseFiles() {
	m.Dir = m.w.Power.Left(m.Dir)
	f := m.files
	if m.files = nil; f == nil {
		return
	}
	f.store.Close()
	<-f.ran
	_ = f.journal.Close() // nothing reaches the directory
}

// recover compares what a journal has with what was written: everything that was synced, and a beginning of the rest.
func (m *Machine) recover(found *journal.Recovery) error {
	synced := m.purged + uint64(len(m.records))
	if last := uint64(found.Last); last < synced || last > synced+uint64(len(m.pending)) {
		return fmt.Errorf("the journal has %d records; %d were synced, %d more were written", last, synced,
			len(m.pending))
	}
	for ev, err := range found.Events() {
		if err != nil {
			return err
		}
		at := uint64(ev.Seq) - m.purged - 1
		want := m.pending
		if at < uint64(len(m.records)) {
			want = m.records
		} else {
			at -= uint64(len(m.records))
		}
		if string(want[at]) != string(ev.Payload) {
			return fmt.Errorf("record %d is % x, and was written as % x", ev.Seq, ev.Payload, want[at])
		}
	}
	m.harden(m.pending[:uint64(found.Last)-synced])
	m.pending = nil
	begun := m.begun
	m.begun = nil
	has := uint64(0)
	if s := m.Newest(); s != nil {
		has = s.record
	}
	switch at := uint64(found.SnapshotSeq); {
	case at == has:
	case begun != nil && at > has && (begun.record == 0 || begun.record == at):
		begun.record = at
		if m.keep(*begun); begun.received {
			m.Durable.restore(begun.Meta, begun.Events)
		}
		m.w.Halfway++
	default:
		return fmt.Errorf("the newest snapshot is of record %d, and that of record %d was installed", at, has)
	}
	return m.checkSnapshot(found)
}

// checkSnapshot compares the newest snapshot with what was written.
func (m *Machine) checkSnapshot(found *journal.Recovery) error {
	s := m.Newest()
	if s == nil {
		return nil
	}
	return found.Restore(func(r io.Reader) error {
		meta, err := raftlog.ReadMeta(r)
		if err != nil {
			return err
		}
		content, err := io.ReadAll(r)
		if err == nil && (meta.Index != s.Meta.Index || meta.Term != s.Meta.Term ||
			string(content) != string(s.Content)) {
			err = fmt.Errorf("the snapshot of index %d has %d bytes, or others, and was written with %d "+
				"of index %d", meta.Index,
				len(content), len(s.Content), s.Meta.Index)
		}
		return err
	})
}

// begins is called by the store's goroutine before each sync.
func (f *files) begins() {
	f.mu.Lock()
	hold := f.hold
	f.mu.Unlock()
	if hold != nil {
		hold()
	}
}

// write has writes carried out, all but the first one as one group, and waits for them. So the same calls are made in
// each run of a seed, but those of the goroutine that makes segments.
func (f *files) write(ws []raftlog.Write) error {
	began, gate := make(chan struct{}, 1), make(chan struct{})
	hold := func() {
		select {
		case began <- struct{}{}:
		default:
		}
		<-gate
	}
	f.mu.Lock()
	f.hold = hold
	f.mu.Unlock()
	done := make(chan error, len(ws))
	for i, w := range ws {
		tell := w.Done
		w.Done = func(err error) {
			if i == 0 {
				hold()
			}
			tell(err)
			done <- err
		}
		if f.store.Write(w); i == 0 {
			<-began
		}
	}
	close(gate)
	var all error
	for range ws {
		all = errors.Join(all, <-done)
	}
	return all
}

// carryOut carries writes out on real files.
func (m *Machine) carryOut(ws []raftlog.Write) {
	real := append([]raftlog.Write(nil), ws...)
	for i, w := range real {
		if r := w.Snapshot; r != nil {
			real[i].Snapshot = &raftlog.Received{Meta: r.Meta, Content: m.sources[r.Meta.Index]}
		}
	}
	err := m.files.write(real)
	for _, w := range ws {
		m.append(w)
		if r := w.Snapshot; r != nil && err != nil {
			m.begun = m.read(r)
			m.begun.received = true
		}
		if err == nil {
			m.wrote(w)
		}
	}
	if lost := m.PowerLost(); err != nil && !lost {
		m.w.Fail("node %d cannot write: %v", m.ID, err)
	}
}

// put puts a snapshot of the machine's own on its real disk; false if it is not known to be there.
func (m *Machine) put(s *Snapshot) bool {
	prepared, err := m.files.journal.PrepareSnapshot(durability.Seq(s.record), func(w io.Writer) error {
		if err := s.Meta.Write(w); err != nil {
			return err
		}
		_, err := w.Write(s.Content)
		return err
	})
	if err == nil {
		done := make(chan error, 1)
		m.files.store.Install(prepared, func(err error) { done <- err })
		select {
		case err = <-done:
		case err = <-m.files.ran: // it has ended before
			m.files.ran <- err
			err = errors.Join(err, errors.New("the store has ended"))
		}
	}
	if err == nil {
		return true
	}
	m.begun = s
	if !m.PowerLost() {
		m.w.Fail("node %d cannot install a snapshot: %v", m.ID, err)
	}
	return false
}

// NewestFile calls read with the newest snapshot as it is on a real disk, unless there is none.
func (m *Machine) NewestFile(read func(*raftlog.Meta, io.Reader) error) error {
	return m.files.store.Newest(read)
}
