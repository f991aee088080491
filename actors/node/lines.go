package node

import (
	"log/slog"

	"sluice/actors/internal/linelimit"
)

// lineLimits limits the log lines about single connections. Each kind has a limit of its own, so
// that many lines of one kind do not suppress the others.
type lineLimits struct {
	ends     linelimit.Limiter // of connections
	rejected linelimit.Limiter // clients that were never served
	slow     linelimit.Limiter // clients that become slow or recover
	short    linelimit.Limiter // accepting that pauses because descriptors or memory have run out
}

// flush writes the number of lines that were left out and have not been counted in another line.
func (l *lineLimits) flush(to *slog.Logger) {
	for _, one := range []*linelimit.Limiter{&l.ends, &l.rejected, &l.slow, &l.short} {
		one.Flush(to)
	}
}
