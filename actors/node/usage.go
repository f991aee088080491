package node

import (
	"errors"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"time"

	"sluice/telemetry"
)

// usageEvery is the time between two looks at the disk.
const usageEvery = 10 * time.Second

// Usage is the size of the journal and the free space of its disk, as of the last look. One goroutine
// looks, because a look at a disk that hangs does not return. Any goroutine reads.
type Usage struct {
	size atomic.Int64 // bytes of the journal's segments and snapshots
	free atomic.Int64 // bytes that the node may still write; -1 if that is not known
}

// NewUsage looks at a data directory for the first time.
func NewUsage(dataDir string) *Usage {
	u := new(Usage)
	u.free.Store(-1)
	u.look(dataDir)
	return u
}

// Watch looks again and again until end is closed.
func (u *Usage) Watch(dataDir string, end <-chan struct{}) {
	tick := time.NewTicker(usageEvery)
	defer tick.Stop()
	for {
		select {
		case <-end:
			return
		case <-tick.C:
			u.look(dataDir)
		}
	}
}

// Gauges registers the size and, if it is known, the free space.
func (u *Usage) Gauges(c *telemetry.Collector) {
	add := func(id telemetry.GaugeID, v *atomic.Int64) {
		c.Gauge(id, telemetry.NoShard, "", func() float64 { return float64(v.Load()) })
	}
	add(telemetry.JournalSize, &u.size)
	if u.free.Load() >= 0 {
		add(telemetry.DiskFree, &u.free)
	}
}

// look keeps the last values of what cannot be read.
func (u *Usage) look(dataDir string) {
	var size int64
	root := filepath.Join(dataDir, journalFolder)
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				size += info.Size()
			}
		}
		if path != root && errors.Is(err, fs.ErrNotExist) {
			return nil // it was removed meanwhile
		}
		return err
	})
	if err == nil {
		u.size.Store(size)
	}
	if free, err := freeBytes(dataDir); err == nil {
		u.free.Store(free)
	}
}
