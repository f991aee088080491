package node

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// lineLimits limits the log lines about single connections. Each kind has a limit of its own, so
// that many lines of one kind do not suppress the others.
type lineLimits struct {
	ends     limiter // of connections
	rejected limiter // clients that were never served
	slow     limiter // clients that become slow or recover
}

// linesPerSecond is how many lines of a kind are written in a second.
const linesPerSecond = 10

// flush writes the number of lines that were left out and have not been counted in another line.
func (l *lineLimits) flush(to *slog.Logger) {
	for _, one := range []*limiter{&l.ends, &l.rejected, &l.slow} {
		one.flush(to)
	}
}

// limiter writes linesPerSecond lines. The number of those it leaves out is added to the next line,
// or written by itself after a second without one. Any goroutine.
type limiter struct {
	mu      sync.Mutex // guards all below
	second  int64
	lines   int
	skipped int
	text    string      // of the first line that was left out
	due     *time.Timer // calls flush; nil if none was left out
}

func (l *limiter) log(to *slog.Logger, level slog.Level, text string, attrs ...any) {
	l.mu.Lock()
	now := time.Now().Unix()
	if now != l.second {
		l.second, l.lines = now, 0
	}
	l.lines++
	if l.lines > linesPerSecond {
		if l.skipped++; l.skipped == 1 {
			l.text, l.due = text, time.AfterFunc(time.Second, func() { l.flush(to) })
		}
		l.mu.Unlock()
		return
	}
	if l.skipped > 0 {
		attrs = append(attrs, "left_out", l.skipped)
		l.skipped = 0
		l.due.Stop()
	}
	l.mu.Unlock()
	to.Log(context.Background(), level, text, attrs...)
}

func (l *limiter) flush(to *slog.Logger) {
	l.mu.Lock()
	n, text := l.skipped, l.text
	if n > 0 {
		l.skipped = 0
		l.due.Stop()
	}
	l.mu.Unlock()
	if n > 0 {
		to.Warn("log lines left out", "like", text, "left_out", n)
	}
}
