package linelimit_test

import (
	"log/slog"
	"os"

	"sluice/actors/internal/linelimit"
)

// Each kind of line has a limiter of its own, so that many of one kind do not suppress the others.
func Example() {
	to := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	var rejected linelimit.Limiter
	rejected.Log(to, slog.LevelWarn, "client rejected", "reason", "unknown_key")
	rejected.Flush(to)
	// Output: level=WARN msg="client rejected" reason=unknown_key
}
