package journal

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// quietLogger returns a logger for the underlying log that writes to slog and never ends the
// process: Fatal, which by default calls os.Exit, panics instead, and guard turns that panic into
// an error.
func quietLogger(to *slog.Logger) *zap.Logger {
	return zap.New(slogCore{to: to.Handler()}, zap.WithFatalHook(zapcore.WriteThenPanic))
}

// slogCore is a zapcore.Core on top of a slog.Handler. Stateless apart from the handler, so any
// goroutine may use it.
type slogCore struct{ to slog.Handler }

func level(l zapcore.Level) slog.Level {
	switch {
	case l <= zapcore.DebugLevel:
		return slog.LevelDebug
	case l == zapcore.InfoLevel:
		return slog.LevelInfo
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	default:
		return slog.LevelError
	}
}

func (c slogCore) Enabled(l zapcore.Level) bool { return c.to.Enabled(context.Background(), level(l)) }

func (c slogCore) With(fields []zapcore.Field) zapcore.Core {
	return slogCore{to: c.to.WithAttrs(attributes(fields))}
}

func (c slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	record := slog.NewRecord(e.Time, level(e.Level), "journal: "+e.Message, 0)
	record.AddAttrs(attributes(fields)...)
	return c.to.Handle(context.Background(), record)
}

func (c slogCore) Sync() error { return nil }

func attributes(fields []zapcore.Field) []slog.Attr {
	values := zapcore.NewMapObjectEncoder()
	out := make([]slog.Attr, 0, len(fields))
	for _, f := range fields {
		f.AddTo(values)
		out = append(out, slog.Any(f.Key, values.Fields[f.Key]))
	}
	return out
}

// guard runs a call into the log and turns a panic into an error, so that the caller can poison the
// journal and name the cause instead of ending the process. The log always unlocks its mutex by
// defer, so it can still be closed afterwards.
func guard(call func() error) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case error: // wrapped, so that errors.Is finds the cause
			err = fmt.Errorf("panic in the log: %w\n%s", r, debug.Stack())
		default:
			err = fmt.Errorf("panic in the log: %v\n%s", r, debug.Stack())
		}
	}()
	return call()
}
