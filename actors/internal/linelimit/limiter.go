package linelimit

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// PerSecond is how many lines a Limiter writes in a second.
const PerSecond = 10

// Limiter writes PerSecond lines in a second. The zero value is ready. The number of those it leaves out is added to the next line,
// or written by itself after a second without one. Any goroutine.
type Limiter struct {
	mu      sync.Mutex // guards all below
	second  int64
	lines   int
	skipped int
	text    string      // of the first line that was left out
	due     *time.Timer // calls Flush; nil if none was left out
}

// Log writes a line, unless PerSecond lines were written in this second.
func (l *Limiter) Log(to *slog.Logger, level slog.Level, text string, attrs ...any) {
	l.mu.Lock()
	now := time.Now().Unix()
	if now != l.second {
		l.second, l.lines = now, 0
	}
	l.lines++
	if l.lines > PerSecond {
		if l.skipped++; l.skipped == 1 {
			l.text, l.due = text, time.AfterFunc(time.Second, func() { l.Flush(to) })
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

// Flush writes the number of lines that were left out and have not been counted in another line.
func (l *Limiter) Flush(to *slog.Logger) {
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
