package observe

import (
	"log/slog"
	"time"

	"sluice/actors/node"
	"sluice/actors/node/observe/status"
)

// Times of the log lines about a wedged gate. The condition is that of the pages, status.WedgedFor.
const (
	gateLook   = 250 * time.Millisecond // between two looks
	gateRemind = 10 * time.Second       // between two lines while the gate stays wedged
)

// gateWatch logs that responses wait for durability for too long. No other line would, because a
// gate that is shut does nothing. It belongs to one goroutine.
type gateWatch struct {
	*periodic // looks

	log  *slog.Logger
	read func() status.Gate

	wedged  bool
	longest float64   // seconds that a response has waited since the gate is wedged
	logged  time.Time // time of the last line
}

// watchGate watches the gate of a node until close.
func watchGate(n node.Running, log *slog.Logger) *gateWatch {
	w := &gateWatch{
		log: log, read: func() status.Gate { return status.ReadGate(n) },
	}
	w.periodic = every(gateLook, w.look)
	return w
}

// look reads the gate and logs what has changed.
func (w *gateWatch) look(now time.Time) {
	gate := w.read()
	if !gate.Wedged {
		if w.wedged {
			w.log.Info("gate reopened", "longest", duration(w.longest))
		}
		w.wedged, w.longest = false, 0
		return
	}
	w.longest = max(w.longest, gate.Seconds)
	if w.wedged && now.Sub(w.logged) < gateRemind {
		return
	}
	w.wedged, w.logged = true, now
	w.log.Warn("gate wedged; responses wait for durability",
		"waiting", duration(gate.Seconds), "event", gate.Event, "why", gate.Why)
}

// duration is a time in seconds, rounded for the log.
func duration(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second)).Round(time.Millisecond)
}
