package journal

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"go.etcd.io/raft/v3/raftpb"
)

// uninterrupted repeats a call of the underlying log whose fdatasync(2) a signal interrupted, which
// file systems in user space and on the network allow. An interrupted sync has not failed: what it was to
// write is still to be written, and package os repeats it as well. The underlying log does not.
func uninterrupted(call func() error) error {
	for {
		if err := guard(call); err != syscall.EINTR { // other calls repeat it themselves
			return err
		}
	}
}

// save appends an entry and syncs it.
//
// An interrupted sync of a rollover may be that of the next segment before it has its name. It holds no
// entry, but entries that are appended to it would be found by no restart. So the log is opened again,
// at the segment that has the entry, and the next commit begins the next one.
func (w *Writer) save(entry *raftpb.Entry, rolls bool) error {
	// No hard state is ever passed: with an entry present Save syncs in any case, and the log then
	// contains no kinds of record that a reader would have to skip.
	err := guard(func() error { return w.log.Save(nil, []*raftpb.Entry{entry}) })
	if err != syscall.EINTR {
		return err
	}
	if err = uninterrupted(w.log.Sync); err != nil || !rolls {
		return err
	}
	if err := uninterrupted(w.log.Close); err != nil {
		return err
	}
	leftovers, err := filepath.Glob(filepath.Join(w.dir.wal(), "*.tmp"))
	for _, name := range leftovers { // not clean, and would be used
		err = errors.Join(err, os.Remove(name))
	}
	if err != nil {
		return err
	}
	w.log, err = openLog(w.dir, quietLogger(w.lg))
	return err
}
