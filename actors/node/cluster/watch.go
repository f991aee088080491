package cluster

import (
	"io"
	"sync/atomic"

	"sluice/durability/raftlog"
	"sluice/telemetry"
)

// beats are the loops of a member that are watched: they go on from period to period. A round of the
// executor is an entry of the log, or a part of a state that is rebuilt.
type beats struct{ log, executor, snapshot telemetry.Beat }

// watch has a period's collector watch the loops of the member.
func (m *Node[R, Q]) watch(c *telemetry.Collector) {
	for name, rounds := range map[string]func() uint64{"log": m.beats.log.Rounds, "executor": m.beats.executor.Rounds,
		"snapshot": m.beats.snapshot.Rounds, "journal": m.writes.rounds} {
		c.Watch(telemetry.Loop{Name: name, Index: telemetry.NoShard, Rounds: rounds})
	}
}

// watchedStore is the store of a log that counts its writes, for an observer of a disk that hangs.
type watchedStore struct {
	*raftlog.JournalStore
	begun, ended atomic.Uint64
}

// Write implements raftlog.Store.
func (s *watchedStore) Write(w raftlog.Write) {
	done := w.Done
	w.Done = func(err error) {
		s.ended.Add(1)
		done(err)
	}
	s.begun.Add(1)
	s.JournalStore.Write(w)
}

// rounds is odd while a write is under way, and changes when the oldest one has ended.
func (s *watchedStore) rounds() uint64 {
	ended := s.ended.Load()
	if s.begun.Load() != ended {
		return 2*ended + 1
	}
	return 2 * ended
}

// pacedReader calls pace before each read.
type pacedReader struct {
	io.Reader
	pace func() error
}

// Read implements io.Reader.
func (r pacedReader) Read(p []byte) (int, error) {
	if err := r.pace(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
