package actors

import (
	"errors"
	"log/slog"
	"time"

	"sluice/encode"
)

// encodeErrors writes encoder errors to the log, at most one a second. Those that it leaves out are
// counted in the next line, or in a line of their own if a second passes without one. It belongs to
// the encoder's goroutine.
type encodeErrors struct {
	log     *slog.Logger
	last    int64 // when the last line was written, monotonic ns; 0 if none was
	leftOut int   // errors since that line
}

// report writes a line about an error of a connection's response, or counts it.
func (l *encodeErrors) report(conn uint64, err error, now int64) {
	if l.recent(now) {
		l.leftOut++
		return
	}
	attrs := []any{"connection", conn, "error", err, "left_out", l.leftOut}
	var panicked *encode.PanicError
	if errors.As(err, &panicked) {
		attrs = append(attrs, "stack", string(panicked.Stack))
	}
	l.log.Error("response could not be encoded; connection closed", attrs...)
	l.last, l.leftOut = now, 0
}

// recent reports that a line was written less than a second ago.
func (l *encodeErrors) recent(now int64) bool {
	return l.last != 0 && now-l.last < int64(time.Second)
}

// lapse writes the number of errors that were left out once a line is due again.
func (l *encodeErrors) lapse(now int64) {
	if l.leftOut > 0 && !l.recent(now) {
		l.flush()
		l.last = now
	}
}

// flush writes the number of errors that were left out.
func (l *encodeErrors) flush() {
	if l.leftOut > 0 {
		l.log.Error("encoder errors not logged one by one", "left_out", l.leftOut)
		l.leftOut = 0
	}
}
