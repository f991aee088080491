//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"google.golang.org/grpc/grpclog"

	"sluice/actors/node"
	"sluice/actors/node/observe/status"
	"sluice/cmd/internal/config"
	"sluice/telemetry"
	"sluice/telemetry/logqueue"
)

// flushFor is how long the end of the process waits for what reads its output.
const flushFor = time.Second

// console is where a server prints: standard output, and standard error with its log. Nothing that
// prints waits for what reads it (docs/decisions/0027).
type console struct {
	out, err *logqueue.Queue
	log      *slog.Logger
	json     bool // every line of standard error is a JSON object
}

// newConsole puts both outputs of a command behind queues, and what libraries log into the log.
func newConsole(e *env, c *config.Server) *console {
	o := &console{out: logqueue.New(e.stdout, logqueue.Config{}),
		err: logqueue.New(e.stderr, logqueue.Config{}), json: c.LogFormat == config.FormatJSON}
	options := &slog.HandlerOptions{Level: c.LogLevel}
	h := o.err.Handler(func(w io.Writer) slog.Handler {
		if o.json {
			return slog.NewJSONHandler(w, options)
		}
		return slog.NewTextHandler(w, options)
	})
	o.log = slog.New(h)
	slog.SetDefault(o.log) // also of package log
	errors := slog.NewLogLogger(h, slog.LevelWarn).Writer()
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, errors))
	e.stdout, e.stderr = o.out, o
	return o
}

// Write implements io.Writer for standard error.
func (o *console) Write(text []byte) (int, error) { return o.err.Write(text) }

// say prints a line about the program itself, whatever the log level.
func (o *console) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !o.json {
		fmt.Fprintf(o.err, "sluice: %s\n", text)
		return
	}
	o.record(slog.LevelInfo, text)
}

// fault reports the error that ends the command.
func (o *console) fault(err error) {
	if !o.json {
		fmt.Fprintln(o.err, "sluice:", err)
		return
	}
	o.record(slog.LevelError, "command failed", slog.Any("error", err))
}

// table prints all measurements.
func (o *console) table(n node.Running) {
	if !o.json {
		var all bytes.Buffer // one line of the queue
		_ = n.WriteStats(&all)
		_, _ = o.err.Write(all.Bytes())
		return
	}
	o.record(slog.LevelInfo, "measurements", slog.Any("measurements", status.Measure(n)))
}

// record logs a line whatever the log level.
func (o *console) record(l slog.Level, text string, attrs ...slog.Attr) {
	r := slog.NewRecord(time.Now(), l, text, 0)
	r.AddAttrs(attrs...)
	_ = o.log.Handler().Handle(context.Background(), r) // a queue takes everything
}

// measure adds the lines that were dropped to the measurements of a node.
func (o *console) measure(c *telemetry.Collector) {
	for k := range logqueue.Kind(logqueue.NumKinds) {
		c.Gauge(telemetry.LogDropped, telemetry.NoShard, k.String(), func() float64 {
			return float64(o.out.Dropped(k) + o.err.Dropped(k))
		})
	}
	c.Gauge(telemetry.LogDropped, telemetry.NoShard, "write_failed", func() float64 {
		return float64(o.out.Failed() + o.err.Failed())
	})
}

// close writes what is queued, for flushFor at most.
func (o *console) close() {
	ctx, cancel := context.WithTimeout(context.Background(), flushFor)
	defer cancel()
	_ = o.out.Close(ctx) // what is lost cannot be reported anywhere
	_ = o.err.Close(ctx)
}
