package logqueue

import (
	"context"
	"io"
	"log/slog"
)

// sink queues the lines of one kind.
type sink struct {
	q    *Queue
	kind Kind
}

// Write implements io.Writer. A slog.Handler calls it once for each line.
func (s sink) Write(line []byte) (int, error) {
	s.q.put(s.kind, line)
	return len(line), nil
}

// handler formats each line with the handler of its kind.
type handler struct {
	q      *Queue
	byKind [NumKinds]slog.Handler
}

// Handler returns a handler whose lines go through the queue. format makes a handler that writes to
// w with one call for each line, such as slog.NewTextHandler or slog.NewJSONHandler; it is called
// once for each kind. Reports of dropped lines have the format of the first Handler of a queue.
func (q *Queue) Handler(format func(w io.Writer) slog.Handler) slog.Handler {
	h := &handler{q: q}
	for k := range h.byKind {
		h.byKind[k] = format(sink{q, Kind(k)})
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.format == nil {
		q.format = format(&q.note)
	}
	return h
}

func (h *handler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.byKind[KindOf(l)].Enabled(ctx, l)
}

// Handle formats a line and queues it. If the queue is shut for its kind, it only counts.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	k := KindOf(r.Level)
	if h.q.refused(k) {
		return nil
	}
	return h.byKind[k].Handle(ctx, r)
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func(one slog.Handler) slog.Handler { return one.WithAttrs(attrs) })
}

func (h *handler) WithGroup(name string) slog.Handler {
	return h.with(func(one slog.Handler) slog.Handler { return one.WithGroup(name) })
}

func (h *handler) with(change func(slog.Handler) slog.Handler) slog.Handler {
	changed := &handler{q: h.q}
	for k, one := range h.byKind {
		changed.byKind[k] = change(one)
	}
	return changed
}
