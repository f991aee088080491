package logqueue_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"sluice/telemetry/logqueue"
)

// A logger whose callers never wait for standard output.
func Example() {
	q := logqueue.New(os.Stdout, logqueue.Config{})
	log := slog.New(q.Handler(func(w io.Writer) slog.Handler {
		return slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: withoutTime})
	}))
	log.Info("serving", "clients", 3)
	fmt.Fprintln(q, "a table, or anything else that is not logged")

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := q.Close(ctx); err != nil {
		panic(err) // the reader of standard output does not read
	}
	// Output:
	// level=INFO msg=serving clients=3
	// a table, or anything else that is not logged
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
