package flight

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/trace"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Defaults of Config's zero fields.
const (
	DefaultAge   = 10 * time.Second
	DefaultBytes = 16 << 20
	DefaultKeep  = 8
	DefaultEvery = 30 * time.Second
)

// Config describes what is recorded, and when and where it is saved.
type Config struct {
	Dir   string        // directory of the recordings; created with the first one
	Slow  time.Duration // save if something took longer; 0 for only by Save and WriteTo
	Age   time.Duration // age of the events in memory
	Bytes uint64        // size of the events in memory; a recording on disk may have four times that
	Keep  int           // number of recordings in Dir; older ones are removed
	Every time.Duration // time in which at most one recording is saved
	Log   *slog.Logger  // default slog.Default

	Now func() time.Time // default time.Now; tests set it
}

// Recorder holds what the Go runtime did in the last seconds. Its methods may be called from any
// goroutine.
type Recorder struct {
	cfg     Config
	runtime *trace.FlightRecorder
	saving  sync.WaitGroup
	taking  sync.Mutex // one copy at a time

	mu     sync.Mutex // guards all below
	closed bool
	busy   bool
	last   time.Time // begin of the last recording
}

// ErrBusy means that a recording is being saved, or was saved within Config.Every.
var ErrBusy = errors.New("flight: a recording is being saved, or was saved a moment ago")

// errLong ends a recording that is too long.
var errLong = errors.New("flight: the recording is too long")

// Start begins to record. It fails if the process has a flight recorder already.
func Start(c Config) (*Recorder, error) {
	orDefault(&c.Age, DefaultAge)
	orDefault(&c.Bytes, DefaultBytes)
	orDefault(&c.Keep, DefaultKeep)
	orDefault(&c.Every, DefaultEvery)
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	memory := trace.FlightRecorderConfig{MinAge: c.Age, MaxBytes: c.Bytes}
	r := &Recorder{cfg: c, runtime: trace.NewFlightRecorder(memory)}
	if err := r.runtime.Start(); err != nil {
		return nil, fmt.Errorf("flight: %w", err)
	}
	return r, nil
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Look saves a recording if took is longer than Config.Slow, on a goroutine of its own. what names
// the slow thing in letters and hyphens, and becomes part of the file name.
func (r *Recorder) Look(what string, took time.Duration) {
	if r.cfg.Slow <= 0 || took <= r.cfg.Slow || !r.begin() {
		return
	}
	go func() {
		defer r.end()
		name, err := r.save(what)
		if err != nil {
			r.cfg.Log.Error("saving a flight recording failed", "slow", what, "took", took, "error",
				err)
			return
		}
		r.cfg.Log.Warn("flight recording saved for `go tool trace`", "slow", what, "took", took,
			"file", name)
	}()
}

// Save saves a recording now and returns its path. It returns ErrBusy too soon after another one.
func (r *Recorder) Save(what string) (string, error) {
	if !r.begin() {
		return "", ErrBusy
	}
	defer r.end()
	return r.save(what)
}

// begin starts a recording, unless another one is being saved or it is too soon.
func (r *Recorder) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	if r.closed || r.busy || !r.last.IsZero() && now.Sub(r.last) < r.cfg.Every {
		return false
	}
	r.busy, r.last = true, now
	r.saving.Add(1)
	return true
}

func (r *Recorder) end() {
	r.mu.Lock()
	r.busy = false
	r.mu.Unlock()
	r.saving.Done()
}

// save writes a recording that begin has started.
func (r *Recorder) save(what string) (name string, err error) {
	if err := os.MkdirAll(r.cfg.Dir, 0o700); err != nil {
		return "", fmt.Errorf("flight: %w", err)
	}
	all, err := r.recordings()
	if err != nil {
		return "", err
	}
	next := uint64(1)
	if len(all) > 0 {
		next = all[len(all)-1].number + 1
	}
	name = filepath.Join(r.cfg.Dir, fmt.Sprintf("flight-%06d-%s-%s.trace", next,
		r.cfg.Now().UTC().Format("20060102T150405.000Z"), what))
	f, err := os.CreateTemp(r.cfg.Dir, "unfinished-*")
	if err != nil {
		return "", fmt.Errorf("flight: %w", err)
	}
	_, err = r.WriteTo(f)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("flight: %w", err), os.Remove(f.Name()))
	}
	return name, r.tidy()
}

// recording is a file of an earlier recording.
type recording struct {
	path   string
	number uint64 // counts up in the directory; 0 if the name has none
}

// recordings lists the recordings in the order in which they were saved, whatever the clock said.
func (r *Recorder) recordings() (all []recording, err error) {
	paths, err := filepath.Glob(filepath.Join(r.cfg.Dir, "flight-*.trace"))
	if err != nil {
		return nil, fmt.Errorf("flight: %w", err)
	}
	for _, path := range paths {
		digits, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), "flight-"), "-")
		number, _ := strconv.ParseUint(digits, 10, 32) // else 0
		all = append(all, recording{path, number})
	}
	slices.SortFunc(all, func(a, b recording) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.path, b.path))
	})
	return all, nil
}

// tidy removes all but the newest recordings.
func (r *Recorder) tidy() error {
	all, err := r.recordings()
	if err != nil {
		return err
	}
	var errs []error
	for _, old := range all[:max(0, len(all)-r.cfg.Keep)] {
		errs = append(errs, os.Remove(old.path))
	}
	return errors.Join(errs...)
}

// WriteTo writes the events in memory in the format of `go tool trace`. After an error before the
// first byte, nothing was written. A slow w does not delay other recordings.
func (r *Recorder) WriteTo(w io.Writer) (int64, error) {
	b, err := r.take()
	if err != nil {
		return 0, err
	}
	return b.WriteTo(w)
}

// take copies the events in memory. The runtime writes one copy at a time and rejects others.
func (r *Recorder) take() (*bytes.Buffer, error) {
	r.taking.Lock()
	defer r.taking.Unlock()
	b := &bytes.Buffer{}
	if _, err := r.runtime.WriteTo(&bounded{w: b, left: 4 * int64(r.cfg.Bytes)}); err != nil {
		return nil, fmt.Errorf("flight: %w", err)
	}
	return b, nil
}

// Close ends the recorder after a recording that is being saved. If ctx ends first, for example
// because the disk hangs, that recording is left behind, and the error says so.
func (r *Recorder) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	saved := make(chan struct{})
	go func() {
		r.saving.Wait()
		close(saved)
	}()
	defer r.runtime.Stop()
	select {
	case <-saved:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flight: a recording is still being saved in %s: %w", r.cfg.Dir, ctx.Err())
	}
}

// bounded is a writer with a limit.
type bounded struct {
	w    io.Writer
	left int64 // bytes until errLong
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, errLong
	}
	return b.w.Write(p)
}
