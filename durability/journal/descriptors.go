package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"
)

// HeldDescriptors is how many file descriptors an open journal keeps: of its lock, the log's directory,
// the newest segment and the next one.
const HeldDescriptors = 4

// SpareDescriptors is how many file descriptors an open journal opens at the same time, at most,
// beside those that it keeps: for the next segment, the end mark and a snapshot.
const SpareDescriptors = 2 * descriptorsTried

const (
	// descriptorsTried is how many the writer or a snapshot needs at the same time.
	descriptorsTried = 4
	// descriptorsPatience bounds the wait for them. A process that has none for that long leaks
	// them, and a restart frees them.
	descriptorsPatience = 30 * time.Second
	descriptorsPause    = 20 * time.Millisecond
)

// awaitDescriptors waits until as many descriptors can be opened as the next step needs. Inside a
// rollover an open that fails is final: the underlying log has written by then, and does not go on. So
// they are tried while nothing has been written. The error is EMFILE or ENFILE, after the patience.
func (d *directory) awaitDescriptors(lg *slog.Logger, what string) error {
	var began time.Time
	for {
		err := d.tryDescriptors()
		if err == nil {
			return nil
		}
		if began.IsZero() {
			began = time.Now()
			lg.Warn("no file descriptor left; the journal waits for one; raise LimitNOFILE (ulimit -n)",
				"for", what, "error", err)
		}
		if time.Since(began) >= d.patience {
			return fmt.Errorf("%d file descriptors were not free within %v; raise LimitNOFILE (ulimit -n): %w",
				descriptorsTried, d.patience, err)
		}
		time.Sleep(descriptorsPause)
	}
}

// tryDescriptors opens descriptors and closes them again. It reports only that none is left; what else
// is wrong is reported by what follows.
func (d *directory) tryDescriptors() error {
	var tried [descriptorsTried]*os.File
	var err error
	for i := range tried {
		if tried[i], err = os.Open(d.path); err != nil {
			break
		}
		defer tried[i].Close()
	}
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return err
	}
	return nil
}
