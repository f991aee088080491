package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability"
	"sluice/durability/journal"
)

// connBits is the width of the counter in a connection id; what is above it is the incarnation of the journal. So an id is
// never given out twice, and a fill for an order of an earlier run reaches nobody rather than a stranger. It leaves room
// for 16 million starts, and for 35 years of 1000 connections a second in one run.
const connBits = 40

// recover opens the journal and rebuilds the book from it.
func (s *Server) recover() error {
	began := time.Now()
	if err := s.makeDataDir(); err != nil {
		return err
	}
	var err error
	s.journal, s.recovery, err = journal.Open(journal.Options{
		Dir: s.journalDir(), SegmentBytes: s.cfg.Journal.SegmentBytes, Logger: s.log, BeforeSync: s.cfg.Journal.BeforeSync,
	})
	if err != nil {
		return err
	}
	r := s.recovery
	if r.Incarnation >= 1<<(64-connBits) {
		return fmt.Errorf("server: %s was opened %d times; connection ids have room for %d starts, so move the book to a new data directory",
			s.journalDir(), r.Incarnation, 1<<(64-connBits)-1)
	}
	if err := s.genesis(); err != nil {
		return err
	}
	applied, err := sequencer.Replay[orderbook.Report, orderbook.Answer](s.book, r)
	if err != nil {
		return fmt.Errorf("server: recovering %s: %w", s.cfg.DataDir, err)
	}
	if last := durability.Seq(s.book.Seq()); last != r.Last {
		return fmt.Errorf("server: recovering %s: the book is at event %d, the journal at %d", s.cfg.DataDir, last, r.Last)
	}
	s.ids.Store(r.Incarnation << connBits)
	s.persists.Store(uint64(r.Last))
	s.cursors.SetPersisted(r.Last) // before the first slot: answers to queries wait for it
	s.log.Info("recovered", "dir", s.cfg.DataDir, "snapshot", uint64(r.SnapshotSeq), "applied", applied, "took", time.Since(began))
	return nil
}

// genesis keeps the limits of the book: the file is a snapshot of the empty book, which a book with other limits refuses.
// Without it, a journal that has no snapshot yet could be replayed with other limits, to another state.
func (s *Server) genesis() error {
	path := filepath.Join(s.cfg.DataDir, "genesis")
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		if err := s.book.Restore(f); err != nil {
			return fmt.Errorf("server: %s: start with the limits this data directory was made with: %w", path, err)
		}
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("server: reading the limits of the book: %w", err)
	}
	if s.recovery.Last > 0 {
		return fmt.Errorf("server: %s is missing, so the limits under which the %d events of the journal were written are unknown; restore the file from a backup",
			path, s.recovery.Last)
	}
	var b bytes.Buffer
	if err := s.book.Snapshot(&b); err != nil {
		return err
	}
	if err := writeDurably(path, b.Bytes()); err != nil {
		return fmt.Errorf("server: writing the limits of the book: %w", err)
	}
	return nil
}

// writeDurably makes a file appear with all its bytes or not at all, also after a crash.
func writeDurably(path string, data []byte) error {
	temporary := path + ".tmp"
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func writeAll(b []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}
