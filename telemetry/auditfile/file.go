package auditfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sluice/telemetry/logqueue"
)

const (
	syncEvery = 100 * time.Millisecond // between two calls of fsync(2), at least
	lines     = 1 << 14                // that wait to be written
	bytes     = 4 << 20                // that wait to be written
)

// File is an open audit file. Any goroutine.
type File struct {
	path  string
	log   *slog.Logger
	queue *logqueue.Queue
	audit *slog.Logger
	dirty chan struct{} // holds a token while something is not synced
	quit  chan struct{} // closed by Close
	done  chan struct{} // closed when the goroutine that syncs has ended

	mu      sync.Mutex // guards the rest; held during write(2), not during fsync(2)
	file    *os.File
	torn    bool // the file does not end with a line break
	failing bool // the last write or sync has failed, and the log says so
}

// Open opens the file of a path for appending, and makes it with mode 0600 if it does not exist. log is that
// of the program, for errors of the file. Close ends it.
func Open(path string, log *slog.Logger) (*File, error) {
	f := &File{path: path, log: log, dirty: make(chan struct{}, 1), quit: make(chan struct{}),
		done: make(chan struct{})}
	if err := f.Reopen(); err != nil {
		return nil, err
	}
	f.queue = logqueue.New(f, logqueue.Config{Bytes: bytes, Lines: lines, Lost: "lines lost"})
	f.audit = slog.New(f.queue.Handler(func(w io.Writer) slog.Handler {
		return slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: named})
	}))
	go f.sync()
	return f, nil
}

// named leaves out the level, and calls the message "what".
func named(groups []string, a slog.Attr) slog.Attr {
	switch {
	case len(groups) > 0:
	case a.Key == slog.LevelKey:
		return slog.Attr{}
	case a.Key == slog.MessageKey:
		a.Key = "what"
	case a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime:
		a.Value = slog.TimeValue(a.Value.Time().UTC())
	}
	return a
}

// Check reports why Open would fail. It makes nothing.
func Check(path string) error {
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
			return fmt.Errorf("auditfile: %s is not a directory; create it, or choose another path", filepath.Dir(path))
		}
		return nil
	case err != nil:
		return fmt.Errorf("auditfile: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("auditfile: %s is not a regular file", path)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("auditfile: other users may write %s (mode %v); run chmod go-w on it", path,
			info.Mode().Perm())
	}
	return nil
}

// Reopen opens the file again by its name, after its rotation. On an error, the file that was open stays in use.
// One of the file before, which is not in use any more, goes to the program's log.
func (f *File) Reopen() error {
	if err := Check(f.path); err != nil {
		return err
	}
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("auditfile: %w", err)
	}
	last, err := f.use(file)
	if err != nil {
		return errors.Join(fmt.Errorf("auditfile: %w", err), file.Close())
	}
	if last != nil {
		if err := errors.Join(last.Sync(), last.Close()); err != nil {
			f.log.Error("audit file before the rotation cannot be synced; its last lines may be lost", "file", f.path,
				"error", err)
		}
	}
	return nil
}

// use has the next line written to file, and returns the one before. Without a rotation both are one file, so
// no write may be under way when its end is looked at.
func (f *File) use(file *os.File) (last *os.File, err error) {
	if err := syncDir(filepath.Dir(f.path)); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	torn, err := cut(file)
	if err == nil {
		last, f.file, f.torn = f.file, file, torn
	}
	return last, err
}

// syncDir makes the name of the file durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// cut reports whether the last line of a file has no end.
func cut(file *os.File) (bool, error) {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	var last [1]byte
	_, err = file.ReadAt(last[:], info.Size()-1)
	return last[0] != '\n', err
}

// Logger writes to the file. The lines of Info are those that clients can cause.
func (f *File) Logger() *slog.Logger { return f.audit }

// Dropped is the number of lines that found no room in the queue.
func (f *File) Dropped() (sum uint64) {
	for k := range logqueue.Kind(logqueue.NumKinds) {
		sum += f.queue.Dropped(k)
	}
	return sum
}

// Failed is the number of lines whose write has failed.
func (f *File) Failed() uint64 { return f.queue.Failed() }

// Write is called by the queue, with whole lines.
func (f *File) Write(text []byte) (n int, err error) {
	f.mu.Lock()
	if f.torn {
		if _, err = f.file.WriteString("\n"); err == nil {
			f.torn = false
		}
	}
	if err == nil {
		n, err = f.file.Write(text)
		f.torn = n > 0 && text[n-1] != '\n'
	}
	file := f.file
	f.mu.Unlock()
	f.judge(file, err)
	f.changed()
	return n, err
}

func (f *File) changed() {
	select {
	case f.dirty <- struct{}{}:
	default:
	}
}

// judge logs the first error of the file that is in use, and the first success after it.
func (f *File) judge(file *os.File, err error) {
	f.mu.Lock()
	if f.file != file {
		f.mu.Unlock()
		return
	}
	was := f.failing
	f.failing = err != nil
	f.mu.Unlock()
	switch {
	case err != nil && !was:
		f.log.Error("audit file cannot be written; lines are lost until it can", "file", f.path, "error", err)
	case err == nil && was:
		f.log.Info("audit file can be written again", "file", f.path)
	}
}

// sync is the goroutine that syncs what was written.
func (f *File) sync() {
	defer close(f.done)
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-f.dirty:
		case <-f.quit:
			return
		}
		f.syncOnce()
		pause.Reset(syncEvery)
		select {
		case <-pause.C:
		case <-f.quit:
			return
		}
	}
}

// syncOnce syncs the file. A file that Reopen has closed meanwhile was synced by it, and an error of one that
// is not written any more says nothing of its successor.
func (f *File) syncOnce() {
	f.mu.Lock()
	file := f.file
	f.mu.Unlock()
	if err := file.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
		f.judge(file, err)
	}
}

// Close writes and syncs what is queued. If ctx ends first, a call that does not return is left behind. Call it
// once.
func (f *File) Close(ctx context.Context) error {
	err := f.queue.Close(ctx)
	close(f.quit)
	if err != nil {
		return err
	}
	closed := make(chan error, 1)
	go func() {
		<-f.done
		f.syncOnce()
		closed <- f.file.Close()
	}()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return fmt.Errorf("auditfile: %s is not synced: %w", f.path, context.Cause(ctx))
	}
}
