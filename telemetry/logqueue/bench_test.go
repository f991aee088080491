package logqueue

import (
	"context"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"
)

// What a line costs the goroutine that logs it: direct to a pipe that is read, formatted by the
// caller and queued, a record that is kept to be formatted later, and a line that is dropped.
func BenchmarkCaller(b *testing.B) {
	text := func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) }
	run := func(b *testing.B, h slog.Handler) {
		log := slog.New(h)
		from := "10.1.2.3:45678"
		b.ReportAllocs()
		for b.Loop() {
			log.Warn("client rejected", "from", from, "listener", "127.0.0.1:9876",
				"reason", "handshake_timeout", "reason_number", uint8(15))
		}
	}
	pipe := func(b *testing.B) *os.File {
		r, w, err := os.Pipe()
		if err != nil {
			b.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, r) }()
		b.Cleanup(func() { w.Close(); r.Close() })
		return w
	}
	queue := func(b *testing.B, w io.Writer, c Config) *Queue {
		q := New(w, c)
		b.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = q.Close(ctx) // a blocked writer stays behind
		})
		return q
	}
	b.Run("direct", func(b *testing.B) { run(b, text(pipe(b))) })
	b.Run("queued", func(b *testing.B) { run(b, queue(b, io.Discard, Config{Bytes: 1 << 30, Lines: 1 << 24}).Handler(text)) })
	b.Run("record", func(b *testing.B) { run(b, &keeper{kept: make([]slog.Record, 1024)}) })
	b.Run("dropped", func(b *testing.B) {
		r, w, err := os.Pipe()
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { r.Close(); w.Close() })
		h := queue(b, w, Config{}).Handler(text)
		for range 20_000 { // fills pipe and queue
			_ = h.Handle(context.Background(), slog.NewRecord(time.Now(), slog.LevelWarn, "full", 0))
		}
		run(b, h)
	})
}

// keeper keeps records as a queue of records would: cloned, with their values resolved.
type keeper struct {
	kept []slog.Record
	n    int
}

func (k *keeper) Enabled(context.Context, slog.Level) bool { return true }
func (k *keeper) Handle(_ context.Context, r slog.Record) error {
	c := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		a.Value = a.Value.Resolve()
		c.AddAttrs(a)
		return true
	})
	k.kept[k.n%len(k.kept)] = c
	k.n++
	return nil
}
func (k *keeper) WithAttrs([]slog.Attr) slog.Handler { return k }
func (k *keeper) WithGroup(string) slog.Handler      { return k }
