package observe

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"sluice/actors/node"
	"sluice/actors/node/observe/status"
)

const (
	pollInterval = 20 * time.Millisecond // between two looks while an actor has not answered
	pollTime     = time.Second           // for the looks of one request
	stallLook    = time.Second           // between two looks of the log
	stallRemind  = 10 * time.Second      // between two lines about a loop that stays stalled
)

func (a *admin) livez(ctx context.Context, _ url.Values) (page, int, error) {
	p := a.node
	life := &Life{Ended: a.now().State == status.StateEnded}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for began := time.Now(); ; {
		life.Silent = a.pulse.Look(p.Collector(), p.Now)
		if len(life.Silent) == 0 || time.Since(began) > pollTime {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, http.StatusServiceUnavailable, ctx.Err()
		}
	}
	if life.Live = status.Alive(life.Silent) && !life.Ended; !life.Live {
		return life, http.StatusServiceUnavailable, nil
	}
	return life, http.StatusOK, nil
}

// stallWatch logs actors and other loops that have not come round for too long. It belongs to one
// goroutine.
type stallWatch struct {
	*periodic // looks

	log     *slog.Logger
	look    func() []status.Silent
	stalled []stall
}

// stall is a loop that has been logged.
type stall struct {
	status.Silent // when it was seen last
	logged        time.Time
}

// watchStalls watches the loops of a node until close, for the log and for readers of pulse.
func watchStalls(n node.Running, pulse *status.Pulse, log *slog.Logger) *stallWatch {
	w := &stallWatch{log: log,
		look: func() []status.Silent {
			pulse.Look(n.Collector(), n.Now)
			return pulse.Stalled()
		}}
	w.periodic = every(stallLook, w.tick)
	return w
}

// tick logs what has changed since the last look.
func (w *stallWatch) tick(now time.Time) {
	var stalled []stall
	for _, s := range w.look() {
		one := stall{Silent: s}
		if i := w.find(s); i >= 0 {
			one.logged = w.stalled[i].logged
			w.stalled = slices.Delete(w.stalled, i, i+1)
		}
		if now.Sub(one.logged) >= stallRemind {
			one.logged = now
			w.log.Warn("stalled", "loop", s.Actor, "index", s.Shard, "for", duration(s.Seconds))
		}
		stalled = append(stalled, one)
	}
	for _, s := range w.stalled { // those that are not stalled any more
		w.log.Info("goes on", "loop", s.Actor, "index", s.Shard, "stalled_for", duration(s.Seconds))
	}
	w.stalled = stalled
}

func (w *stallWatch) find(s status.Silent) int {
	return slices.IndexFunc(w.stalled, func(o stall) bool {
		return o.Actor == s.Actor && o.Shard == s.Shard
	})
}
