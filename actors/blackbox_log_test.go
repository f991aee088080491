package actors

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// logBook keeps the lines of a logger.
type logBook struct {
	mu   sync.Mutex
	book []string
}

func (b *logBook) logger() *slog.Logger { return slog.New(b) }

// lines counts the lines that contain text.
func (b *logBook) lines(text string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.book {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// sum adds up an attribute of all lines.
func (b *logBook) sum(attribute string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.book {
		var value int
		if _, text, ok := strings.Cut(line, " "+attribute+"="); ok {
			fmt.Sscan(text, &value)
			n += value
		}
	}
	return n
}

// Handle implements slog.Handler.
func (b *logBook) Handle(_ context.Context, r slog.Record) error {
	var line strings.Builder
	line.WriteString(r.Level.String() + " " + r.Message)
	r.Attrs(func(a slog.Attr) bool {
		line.WriteString(" " + a.String())
		return true
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.book = append(b.book, line.String())
	return nil
}

// Enabled implements slog.Handler.
func (b *logBook) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs implements slog.Handler.
func (b *logBook) WithAttrs([]slog.Attr) slog.Handler { return b }

// WithGroup implements slog.Handler.
func (b *logBook) WithGroup(string) slog.Handler { return b }
