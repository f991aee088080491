package actors

import (
	"errors"
	"log/slog"
	"time"

	"sluice/actors/internal/linelimit"
	"sluice/encode"
)

// encodeErrors writes encoder errors to the log, at most ten a second. The first one of a connection
// ends it, so others of it within a second are left out too. Errors that are left out are counted in the
// next line, or in a line of their own if a second passes without one. It belongs to the encoder's
// goroutine.
type encodeErrors struct {
	log     *slog.Logger
	last    uint64 // connection or topic of the last line
	began   int64  // when the first line of this second was written, monotonic ns; 0 if none was
	lines   int    // in this second
	leftOut int    // errors since the last line
}

// report writes a line about an error of a connection's response, or counts it.
func (l *encodeErrors) report(conn uint64, err error, now int64) {
	l.line("response could not be encoded; connection closed", "connection", conn, err, now)
}

// topic does so for an error of a topic's frame.
func (l *encodeErrors) topic(topic uint64, err error, now int64) {
	l.line("topic frame could not be encoded; subscribers get a snapshot or are closed", "topic", topic, err, now)
}

func (l *encodeErrors) line(text, what string, id uint64, err error, now int64) {
	if !l.recent(now) {
		l.began, l.lines = now, 0
	}
	if l.lines == linelimit.PerSecond || l.lines > 0 && id == l.last {
		l.leftOut++
		return
	}
	attrs := []any{what, id, "error", err, "left_out", l.leftOut}
	var panicked *encode.PanicError
	if errors.As(err, &panicked) {
		attrs = append(attrs, "stack", string(panicked.Stack))
	}
	l.log.Error(text, attrs...)
	l.last, l.leftOut = id, 0
	l.lines++
}

// recent reports that the first line of this second was written less than a second ago.
func (l *encodeErrors) recent(now int64) bool {
	return l.began != 0 && now-l.began < int64(time.Second)
}

// lapse writes the number of errors that were left out once a line is due again.
func (l *encodeErrors) lapse(now int64) {
	if l.leftOut > 0 && !l.recent(now) {
		l.flush()
		l.began, l.lines = now, linelimit.PerSecond
	}
}

// flush writes the number of errors that were left out.
func (l *encodeErrors) flush() {
	if l.leftOut > 0 {
		l.log.Error("encoder errors not logged one by one", "left_out", l.leftOut)
		l.leftOut = 0
	}
}
