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

// limiter writes linesPerSecond lines and adds the number of those it left out to the next one. Any
// goroutine.
type limiter struct {
	mu      sync.Mutex // guards all below
	second  int64
	lines   int
	skipped int
}

func (l *limiter) log(to *slog.Logger, level slog.Level, text string, attrs ...any) {
	l.mu.Lock()
	now := time.Now().Unix()
	if now != l.second {
		l.second, l.lines = now, 0
	}
	l.lines++
	if l.lines > linesPerSecond {
		l.skipped++
		l.mu.Unlock()
		return
	}
	if l.skipped > 0 {
		attrs = append(attrs, "left_out", l.skipped)
		l.skipped = 0
	}
	l.mu.Unlock()
	to.Log(context.Background(), level, text, attrs...)
}
