package node

import (
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"time"
)

// usageEvery is the time between two looks at the disk.
const usageEvery = 10 * time.Second

// usage is the size of the journal and the free space of its disk, as of the last look. One goroutine
// looks, because a look at a disk that hangs does not return. Any goroutine reads.
type usage struct {
	size atomic.Int64 // bytes of the journal's segments and snapshots
	free atomic.Int64 // bytes that the node may still write; -1 if that is not known
}

// look keeps the last values of what cannot be read.
func (u *usage) look(dataDir string) {
	var size int64
	err := filepath.WalkDir(filepath.Join(dataDir, journalFolder),
		func(_ string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return nil // it was removed meanwhile
			}
			if info, err := e.Info(); err == nil {
				size += info.Size()
			}
			return nil
		})
	if err == nil {
		u.size.Store(size)
	}
	if free, err := freeBytes(dataDir); err == nil {
		u.free.Store(free)
	}
}

// watchUsage looks at the disk until the node has ended.
func (n *Node[R, Q]) watchUsage() {
	tick := time.NewTicker(usageEvery)
	defer tick.Stop()
	for {
		select {
		case <-n.ending.ended:
			return
		case <-tick.C:
			n.store.usage.look(n.cfg.DataDir)
		}
	}
}
