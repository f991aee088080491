package main

import (
	"log/slog"
	"time"

	"sluice/actors"
	"sluice/cmd/internal/config"
	"sluice/durability"
)

// When the log speaks of the gate. The pages call it wedged after the same second.
const (
	wedgedFor   = time.Second            // that an answer has waited
	wedgeLook   = 250 * time.Millisecond // between two looks: a quarter of what may pass until somebody knows
	wedgeRemind = 10 * time.Second       // between two lines while it lasts
)

// gateWatch writes to the log when answers wait for durability for so long that somebody ought to know: no other line would,
// because a gate that is shut does nothing. It belongs to one goroutine.
type gateWatch struct {
	log  *slog.Logger
	wait func() (actors.Wait, bool)
	why  func(durability.Seq) string

	wedged  bool
	longest time.Duration // that an answer has waited since then
	told    time.Time     // the last line
	quit    chan struct{}
	done    chan struct{}
}

// watchGate starts to watch the gate of a server that was started, until close.
func (s *service) watchGate() *gateWatch {
	p := s.server
	w := &gateWatch{log: s.log, wait: p.Waiting, quit: make(chan struct{}), done: make(chan struct{}), why: func(event durability.Seq) string {
		var v durability.View
		if !s.server.View(&v) {
			return "the cursors move too fast to say"
		}
		return p.Policy().Current().Explain(&v, event)
	}}
	go func() {
		defer close(w.done)
		tick := time.NewTicker(wedgeLook)
		defer tick.Stop()
		for {
			select {
			case <-w.quit:
				return
			case now := <-tick.C:
				w.look(now)
			}
		}
	}()
	return w
}

func (w *gateWatch) close() {
	close(w.quit)
	<-w.done
}

// look asks the gate, and writes what is new.
func (w *gateWatch) look(now time.Time) {
	wait, waiting := w.wait()
	if !waiting || wait.For <= wedgedFor {
		if w.wedged {
			w.log.Info("the gate opens again", "longest", config.FormatDuration(w.longest.Round(time.Millisecond)))
		}
		w.wedged, w.longest = false, 0
		return
	}
	w.longest = max(w.longest, wait.For)
	if w.wedged && now.Sub(w.told) < wedgeRemind {
		return
	}
	w.wedged, w.told = true, now
	w.log.Warn("the gate is wedged: answers wait for durability", "waiting", config.FormatDuration(wait.For.Round(time.Millisecond)),
		"event", uint64(wait.Seq), "why", w.why(wait.Seq))
}
