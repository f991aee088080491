package flight

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/trace"
	"slices"
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

// Config says what is recorded, when it is saved, and where to.
type Config struct {
	Dir   string        // of the recordings; made when the first one is saved
	Slow  time.Duration // save when something took longer; 0 = only when somebody calls Save or WriteTo
	Age   time.Duration // of events that are remembered
	Bytes uint64        // of events that are remembered, and four times that of a recording on disk
	Keep  int           // recordings; older ones of Dir are removed
	Every time.Duration // at most one recording is saved in so long
	Log   *slog.Logger  // default slog.Default

	Now func() time.Time // default time.Now; tests set it
}

// Recorder remembers what the Go runtime did in the last seconds. Its methods may be called from any goroutine.
type Recorder struct {
	cfg     Config
	runtime *trace.FlightRecorder
	saving  sync.WaitGroup
	taking  sync.Mutex // one copy at a time

	mu     sync.Mutex // guards all below
	closed bool
	busy   bool
	last   time.Time // when the last one was begun
}

// ErrBusy says that a recording is being saved, or was too short a while ago.
var ErrBusy = errors.New("flight: a recording was saved a moment ago")

// errLong ends a recording that became too long.
var errLong = errors.New("flight: the recording became too long")

// Start begins to record. An error says that the process has a flight recorder already.
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
	r := &Recorder{cfg: c, runtime: trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: c.Age, MaxBytes: c.Bytes})}
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

// Look saves a recording if took is longer than Config.Slow, on a goroutine of its own. what took so long becomes part of
// the file's name: letters and hyphens.
func (r *Recorder) Look(what string, took time.Duration) {
	if r.cfg.Slow <= 0 || took <= r.cfg.Slow || !r.begin() {
		return
	}
	go func() {
		defer r.end()
		name, err := r.save(what)
		if err != nil {
			r.cfg.Log.Error("the flight recording of something slow was not saved", "what", what, "took", took, "error", err)
			return
		}
		r.cfg.Log.Warn("something was slow; what the runtime did is in a recording for `go tool trace`", "what", what, "took", took, "file", name)
	}()
}

// Save saves a recording now, and returns its path. ErrBusy: not so soon after another one.
func (r *Recorder) Save(what string) (string, error) {
	if !r.begin() {
		return "", ErrBusy
	}
	defer r.end()
	return r.save(what)
}

// begin takes the turn of saving, unless it is another's or came too soon.
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

// save writes a file of which there is a turn.
func (r *Recorder) save(what string) (name string, err error) {
	if err := os.MkdirAll(r.cfg.Dir, 0o700); err != nil {
		return "", fmt.Errorf("flight: %w", err)
	}
	name = filepath.Join(r.cfg.Dir, "flight-"+r.cfg.Now().UTC().Format("20060102T150405.000Z")+"-"+what+".trace")
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

// tidy removes all but the newest recordings. Their names sort by time.
func (r *Recorder) tidy() error {
	names, err := filepath.Glob(filepath.Join(r.cfg.Dir, "flight-*.trace"))
	if err != nil {
		return fmt.Errorf("flight: %w", err)
	}
	slices.Sort(names)
	var errs []error
	for _, old := range names[:max(0, len(names)-r.cfg.Keep)] {
		errs = append(errs, os.Remove(old))
	}
	return errors.Join(errs...)
}

// WriteTo writes what is remembered, in the format of `go tool trace`: nothing when there is an error before the first
// byte. However slow w is, it keeps nobody else from a recording of his own.
func (r *Recorder) WriteTo(w io.Writer) (int64, error) {
	b, err := r.take()
	if err != nil {
		return 0, err
	}
	return b.WriteTo(w)
}

// take copies what is remembered. The runtime writes one copy at a time and refuses others.
func (r *Recorder) take() (*bytes.Buffer, error) {
	r.taking.Lock()
	defer r.taking.Unlock()
	b := &bytes.Buffer{}
	if _, err := r.runtime.WriteTo(&bounded{w: b, left: 4 * int64(r.cfg.Bytes)}); err != nil {
		return nil, fmt.Errorf("flight: %w", err)
	}
	return b, nil
}

// Close ends the recording, after one that is being saved. When ctx ends first, that one is left behind, as a disk that
// hangs would have it, and the error says so.
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

// bounded refuses to write more than so much.
type bounded struct {
	w    io.Writer
	left int64
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, errLong
	}
	return b.w.Write(p)
}
