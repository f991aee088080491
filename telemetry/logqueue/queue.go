package logqueue

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of Config's zero fields.
const (
	DefaultBytes = 1 << 20
	DefaultLines = 4096
	DefaultLost  = "log lines dropped; the log was not read in time"
)

const (
	pieceBytes  = 4096        // one write(2), unless a line is longer: a pipe takes as much in one piece (PIPE_BUF)
	reportEvery = time.Second // between two reports of dropped lines while lines are still being dropped
)

// Kind is a kind of line. Each has a share of the queue and a counter.
type Kind uint8

// All kinds.
const (
	Text  Kind = iota // of Write
	Debug             // below slog.LevelInfo
	Info
	Warn
	Error // slog.LevelError and above
	// NumKinds is the number of kinds.
	NumKinds = int(Error) + 1
)

// String is the name of a kind in metrics and log lines.
func (k Kind) String() string {
	return [NumKinds]string{"text", "debug", "info", "warn", "error"}[k]
}

// KindOf is the kind of a log level.
func KindOf(l slog.Level) Kind {
	switch {
	case l < slog.LevelInfo:
		return Debug
	case l < slog.LevelWarn:
		return Info
	case l < slog.LevelError:
		return Warn
	}
	return Error
}

// quarters is the share of the queue that lines of a kind may fill.
func (k Kind) quarters() int { return [NumKinds]int{Text: 2, Debug: 2, Info: 2, Warn: 3, Error: 4}[k] }

// Config bounds a queue. A zero field takes its default.
type Config struct {
	Bytes int    // of lines that wait to be written; default DefaultBytes
	Lines int    // that wait to be written; default DefaultLines
	Lost  string // text of the line that reports lost lines; default DefaultLost
}

// Queue writes lines to a writer on a goroutine of its own. Its methods may be called from any
// goroutine, including after Close.
type Queue struct {
	to     io.Writer
	config Config
	wake   chan struct{} // room for one token
	done   chan struct{} // closed when the goroutine has ended

	shut      [NumKinds]atomic.Bool   // lines of the kind are dropped until the queue is taken
	dropped   [NumKinds]atomic.Uint64 // lines that found no room
	failed    atomic.Uint64           // lines whose write failed
	unwritten atomic.Int64            // lines queued or being written

	mu      sync.Mutex // guards the next group
	closing bool
	waiting batch
	since   time.Time // of the first line lost after the last report; zero if there is none
	format  slog.Handler
	note    bytes.Buffer // what format has written

	told     [NumKinds + 1]uint64 // losses at the last report; of the goroutine
	reported time.Time            // time of the last report; of the goroutine
}

// batch is a number of lines.
type batch struct {
	text []byte
	ends []int // of each line in text
}

func (b *batch) reset() { b.text, b.ends = b.text[:0], b.ends[:0] }

// New returns a queue and starts its goroutine, which ends with Close. w is used on that goroutine
// alone, and never again once Close has returned nil.
func New(w io.Writer, c Config) *Queue {
	if c.Bytes <= 0 {
		c.Bytes = DefaultBytes
	}
	if c.Lines <= 0 {
		c.Lines = DefaultLines
	}
	if c.Lost == "" {
		c.Lost = DefaultLost
	}
	q := &Queue{to: w, config: c, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go q.run()
	return q
}

// Write implements io.Writer for text that is not logged. The text is one line, however many line
// breaks it has: it is written whole or dropped. It never waits, and the error is always nil.
func (q *Queue) Write(text []byte) (int, error) {
	if !q.refused(Text) {
		q.put(Text, text)
	}
	return len(text), nil
}

// refused drops and counts a line if others of its kind were dropped since the queue was last taken.
func (q *Queue) refused(k Kind) bool {
	if !q.shut[k].Load() {
		return false
	}
	q.dropped[k].Add(1)
	return true
}

// put queues a line. One that finds no room shuts the queue for its kind until the goroutine takes
// what is in it. Otherwise short lines would pass where long ones do not.
func (q *Queue) put(k Kind, text []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	share := k.quarters()
	w := &q.waiting
	if q.closing || 4*(len(w.text)+len(text)) > share*q.config.Bytes ||
		4*(len(w.ends)+1) > share*q.config.Lines {
		q.shut[k].Store(true)
		q.dropped[k].Add(1)
		q.lost()
		q.kick()
		return
	}
	q.unwritten.Add(1)
	w.text = append(w.text, text...)
	w.ends = append(w.ends, len(w.text))
	if len(w.ends) == 1 {
		q.kick()
	}
}

// lost notes the time of a loss. The caller holds the mutex.
func (q *Queue) lost() {
	if q.since.IsZero() {
		q.since = time.Now()
	}
}

func (q *Queue) kick() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Dropped is the number of lines of a kind that found no room.
func (q *Queue) Dropped(k Kind) uint64 { return q.dropped[k].Load() }

// Failed is the number of lines whose write failed, because the reader of a pipe has ended or a disk
// is full.
func (q *Queue) Failed() uint64 { return q.failed.Load() }

// Close writes what is queued and ends the queue. Lines that come later are dropped. If ctx ends
// first, a write that does not return is left behind, and the error says how many lines it holds up.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	q.closing = true
	q.mu.Unlock()
	q.kick()
	select {
	case <-q.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("logqueue: %d lines not written; a write has not returned: %w",
			q.unwritten.Load(), ctx.Err())
	}
}

// run is the goroutine.
func (q *Queue) run() {
	defer close(q.done)
	var taken batch
	for {
		taken.reset()
		q.mu.Lock()
		closing := q.closing
		taken, q.waiting = q.waiting, taken
		for k := range q.shut {
			q.shut[k].Store(false)
		}
		q.mu.Unlock()
		if len(taken.ends) > 0 {
			q.write(&taken)
			continue
		}
		q.report(0)
		if closing {
			return
		}
		<-q.wake
	}
}

// write writes lines in pieces.
func (q *Queue) write(b *batch) {
	for from, line := 0, 0; line < len(b.ends); {
		first := line
		for line++; line < len(b.ends) && b.ends[line]-from <= pieceBytes; line++ {
		}
		n, err := q.to.Write(b.text[from:b.ends[line-1]])
		if q.unwritten.Add(int64(first - line)); err != nil {
			for first < line && b.ends[first]-from <= n {
				first++ // it was written whole
			}
			q.failed.Add(uint64(line - first))
			q.mu.Lock()
			q.lost()
			q.mu.Unlock()
		} else {
			q.report(reportEvery)
		}
		from = b.ends[line-1]
	}
}

// report writes how many lines were lost since the last report, unless that is younger than every.
func (q *Queue) report(every time.Duration) {
	q.mu.Lock()
	since := q.since
	q.mu.Unlock()
	now := time.Now()
	if since.IsZero() || now.Sub(q.reported) < every {
		return
	}
	q.reported = now
	q.mu.Lock()
	q.since = time.Time{} // before the counters are read: a later loss is reported once more
	q.mu.Unlock()
	counts, attrs := q.losses(), []slog.Attr{slog.Time("since", since)}
	for k, n := range counts {
		if n > q.told[k] {
			name := "write_failed"
			if k < NumKinds {
				name = Kind(k).String()
			}
			attrs = append(attrs, slog.Uint64(name, n-q.told[k]))
		}
	}
	if _, err := q.to.Write(q.line(now, attrs)); err == nil {
		q.told = counts
		return
	}
	q.mu.Lock()
	q.since = since
	q.mu.Unlock()
}

// losses are the numbers of lost lines: by kind, then of failed writes.
func (q *Queue) losses() (n [NumKinds + 1]uint64) {
	for k := range NumKinds {
		n[k] = q.dropped[k].Load()
	}
	n[NumKinds] = q.failed.Load()
	return n
}

// line formats a report as the lines of the Handler are, or as text if there is none.
func (q *Queue) line(now time.Time, attrs []slog.Attr) []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.format == nil {
		q.format = slog.NewTextHandler(&q.note, nil)
	}
	q.note.Reset()
	r := slog.NewRecord(now, slog.LevelWarn, q.config.Lost, 0)
	r.AddAttrs(attrs...)
	_ = q.format.Handle(context.Background(), r) // writes to a buffer
	return q.note.Bytes()
}
