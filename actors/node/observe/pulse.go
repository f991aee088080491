package observe

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"sluice/actors/node/observe/status"
	"sluice/telemetry"
)

const (
	maxSilence   = 5 * time.Second       // an actor that runs and has not stepped for longer is dead
	pollInterval = 20 * time.Millisecond // between two collections while an actor has not answered
	pollTime     = time.Second           // for the collections of one request
)

// Pulse measures how long actors have not answered a collection. An idle actor answers through its
// parked block, so silence means that the actor runs and does not step. It is measured from the
// first collection that was not answered.
type Pulse struct {
	mu   sync.Mutex // guards open
	open map[actorID]openCollection
}

type actorID struct {
	kind  string
	shard int
}

// openCollection is a collection that an actor has not answered.
type openCollection struct {
	answered telemetry.Nanos // the actor's last answer before it
	began    telemetry.Nanos
}

// Silent collects once and returns the actors that have not answered, with the time since. now is
// the pipeline's clock. Any goroutine.
func (p *Pulse) Silent(c *telemetry.Collector, now func() int64) (silent []Silent) {
	began := now()
	c.Collect(0)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = map[actorID]openCollection{}
	}
	c.Each(func(t *telemetry.Totals) {
		id := actorID{t.Actor, t.Shard}
		if t.AnsweredAt >= began {
			delete(p.open, id)
			return
		}
		o, known := p.open[id]
		if !known || o.answered != t.AnsweredAt {
			o = openCollection{answered: t.AnsweredAt, began: began}
			p.open[id] = o
		}
		silent = append(silent, Silent{Actor: t.Actor, Shard: t.Shard,
			Seconds: time.Duration(now() - o.began).Seconds()})
	})
	return silent
}

// Alive reports whether none of the silent actors was silent for more than five seconds.
func Alive(silent []Silent) bool {
	for _, s := range silent {
		if s.Seconds > maxSilence.Seconds() {
			return false
		}
	}
	return true
}

func (a *admin) livez(ctx context.Context, _ url.Values) (page, int, error) {
	p := a.node
	life := &Life{Ended: a.now().State == status.StateEnded}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for began := time.Now(); ; {
		life.Silent = a.pulse.Silent(p.Collector(), p.Now)
		if len(life.Silent) == 0 || time.Since(began) > pollTime {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, http.StatusServiceUnavailable, ctx.Err()
		}
	}
	if life.Live = Alive(life.Silent) && !life.Ended; !life.Live {
		return life, http.StatusServiceUnavailable, nil
	}
	return life, http.StatusOK, nil
}
