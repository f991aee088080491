package raftlog

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"sluice/durability"
	"sluice/durability/journal"
)

// Results of what is not carried out.
var (
	errStoreClosed = errors.New("raftlog: the store is closed") // also after Run has failed
	errReplaced    = errors.New("raftlog: this snapshot is not installed: a newer one came first")
)

// JournalStore is a Store over a journal. Run writes, on a goroutine of its own: it blocks in
// fdatasync(2), and all writes that arrived meanwhile share the next one.
type JournalStore struct {
	journal  *journal.Journal
	found    *journal.Recovery
	onCommit func()

	mu     sync.Mutex // guards the fields below
	some   sync.Cond
	queue  []Write
	offer  *offered
	closed bool
}

// offered is a snapshot that waits to be installed.
type offered struct {
	snapshot *journal.Snapshot
	done     func(error)
}

// NewJournalStore makes the store of an open journal. The journal's writer belongs to it. onCommit,
// if not nil, is called on Run's goroutine before each sync.
func NewJournalStore(j *journal.Journal, found *journal.Recovery, onCommit func()) *JournalStore {
	if onCommit == nil {
		onCommit = func() {}
	}
	s := &JournalStore{journal: j, found: found, onCommit: onCommit}
	s.some.L = &s.mu
	return s
}

// Load implements Store.
func (s *JournalStore) Load() (snap *Meta, upTo uint64, records iter.Seq2[journal.Event, error], err error) {
	err = s.found.Restore(func(r io.Reader) (err error) {
		snap, err = ReadMeta(r)
		return err
	})
	return snap, uint64(s.found.SnapshotSeq), s.found.Events(), err
}

// Write implements Store.
func (s *JournalStore) Write(w Write) {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.queue = append(s.queue, w)
	}
	s.mu.Unlock()
	if closed {
		w.Done(errStoreClosed)
		return
	}
	s.some.Signal()
}

// drop discards a snapshot that is not installed, because of err. o may be nil.
func (o *offered) drop(err error) {
	if o != nil {
		o.done(errors.Join(err, o.snapshot.Discard()))
	}
}

// Install has a prepared snapshot installed behind the writes that are queued. done is called once with the
// result, on Run's goroutine. A snapshot that is not installed is discarded, which is an error: if the store
// was closed or has failed before, done is called before Install returns; if a newer snapshot replaces this
// one, by the Install of that.
func (s *JournalStore) Install(snapshot *journal.Snapshot, done func(error)) {
	s.mu.Lock()
	dropped, why := &offered{snapshot, done}, errStoreClosed
	if !s.closed {
		s.offer, dropped, why = dropped, s.offer, errReplaced
	}
	s.mu.Unlock()
	dropped.drop(why)
	s.some.Signal()
}

// Close has Run return once everything queued is on disk.
func (s *JournalStore) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.some.Signal()
}

// Run writes until Close, or until a write fails: with the error of the journal, with that of the received
// snapshot that it brings, or with journal.ErrTooLarge for an entry that is longer than a node makes any.
// Every write after it fails too.
func (s *JournalStore) Run() error {
	var buffer []byte
	var group []Write
	for {
		s.mu.Lock()
		for len(s.queue) == 0 && s.offer == nil && !s.closed {
			s.some.Wait()
		}
		group, s.queue = s.queue, group[:0]
		offer, closed := s.offer, s.closed
		s.offer = nil
		s.mu.Unlock()
		err := s.commit(group, &buffer)
		for i := range group {
			group[i].Done(err)
			group[i] = Write{}
		}
		if err == nil && offer != nil {
			offer, err = nil, s.install(offer)
		}
		if err != nil {
			offer.drop(err)
			s.refuse(err)
			return err
		}
		if closed && len(group) == 0 && offer == nil {
			_, err := s.journal.Writer().Commit()
			return err
		}
	}
}

// refuse fails what is queued, and everything that comes.
func (s *JournalStore) refuse(err error) {
	s.mu.Lock()
	queue, offer := s.queue, s.offer
	s.queue, s.offer, s.closed = nil, nil, true
	s.mu.Unlock()
	for _, w := range queue {
		w.Done(err)
	}
	offer.drop(err)
}

// maxGroup ends a group commit, in bytes, also within a write: the journal bounds what one commit takes.
const maxGroup = 4 << 20

// commit writes a group and syncs it if one of its writes has Sync set.
func (s *JournalStore) commit(group []Write, buffer *[]byte) (err error) {
	w, sync := s.journal.Writer(), false
	for i := range group {
		*buffer, err = group[i].Records(*buffer, func(payload []byte) error {
			if w.Pending() >= maxGroup {
				if _, err := w.Commit(); err != nil {
					return err
				}
			}
			_, err := w.Append(payload)
			return err
		})
		sync = sync || group[i].Sync
		if r := group[i].Snapshot; err == nil && r != nil {
			err = s.receive(r)
		}
		if err != nil {
			return err
		}
	}
	if !sync {
		return nil
	}
	s.onCommit()
	_, err = w.Commit()
	return err
}

// receive installs a snapshot that another node sent, behind its record.
func (s *JournalStore) receive(r *Received) error {
	w := s.journal.Writer()
	record, err := w.Commit()
	if err != nil {
		return err
	}
	prepared, err := s.prepare(uint64(record), &r.Meta, r.Content)
	if err != nil {
		return fmt.Errorf("raftlog: keeping the snapshot of event %d that another node sent: %w", r.Meta.Seq, err)
	}
	return w.Install(prepared)
}

// install installs a snapshot. Only an error that poisons the journal is returned.
func (s *JournalStore) install(o *offered) error {
	w := s.journal.Writer()
	if o.snapshot.Seq() > w.Persisted() { // its last record is pending
		if _, err := w.Commit(); err != nil {
			o.drop(err)
			return err
		}
	}
	err := w.Install(o.snapshot)
	o.done(err)
	if errors.Is(err, journal.ErrPoisoned) {
		return err
	}
	return nil
}

// Newest calls read with the newest snapshot on disk: its Meta, and the state behind it. read is not
// called if there is none. Any goroutine. A snapshot that is installed meanwhile may remove the one that
// is read, which is an error then: call it again.
func (s *JournalStore) Newest(read func(*Meta, io.Reader) error) error {
	past, err := s.journal.Past(durability.Everything)
	if err != nil {
		return err
	}
	return past.Restore(func(r io.Reader) error {
		m, err := ReadMeta(r)
		if err != nil {
			return err
		}
		return read(m, r)
	})
}

// prepare writes a snapshot to a temporary file. Any goroutine.
func (s *JournalStore) prepare(record uint64, m *Meta, write func(io.Writer) error) (*journal.Snapshot, error) {
	if record == 0 {
		return nil, fmt.Errorf("raftlog: a snapshot of index %d has no use: there is one already", m.Index)
	}
	return s.journal.PrepareSnapshot(durability.Seq(record), func(w io.Writer) error {
		if err := m.Write(w); err != nil {
			return err
		}
		return write(w)
	})
}
