package observe

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"sluice/telemetry"
)

const (
	silentMost = 5 * time.Second       // an actor that runs and has not stepped for longer is dead
	askAgain   = 20 * time.Millisecond // while an actor has not answered
	askFor     = time.Second           // how long one request waits for it
)

// Pulse remembers since when actors do not answer. An actor that has nothing to do answers through its parked block, so
// silence means that it runs and does not come round. Silence counts from the first question that stayed unanswered:
// before it nobody asked.
type Pulse struct {
	mu    sync.Mutex // guards asked
	asked map[who]question
}

type who struct {
	actor string
	shard int
}

// question is one that an actor owes the answer to.
type question struct {
	seen int64 // its last answer when it was asked
	at   int64 // when
}

// Listen collects once and returns the actors that owe an answer, with how long they do. now is the pipeline's clock. Any
// goroutine.
func (p *Pulse) Listen(c *telemetry.Collector, now func() int64) (silent []Silent) {
	asked := now()
	c.Collect(0)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked == nil {
		p.asked = map[who]question{}
	}
	c.Each(func(t *telemetry.Totals) {
		w := who{t.Actor, t.Shard}
		if t.AnsweredAt >= asked {
			delete(p.asked, w)
			return
		}
		q, known := p.asked[w]
		if !known || q.seen != t.AnsweredAt {
			q = question{seen: t.AnsweredAt, at: asked}
			p.asked[w] = q
		}
		silent = append(silent, Silent{Actor: t.Actor, Shard: t.Shard, Seconds: time.Duration(now() - q.at).Seconds()})
	})
	return silent
}

// Alive reports whether none of the silent actors was silent for more than five seconds.
func Alive(silent []Silent) bool {
	for _, s := range silent {
		if s.Seconds > silentMost.Seconds() {
			return false
		}
	}
	return true
}

func (a *admin) livez(ctx context.Context, _ url.Values) (page, int, error) {
	p := a.node
	life := &Life{Ended: a.now().State == "ended"}
	tick := time.NewTicker(askAgain)
	defer tick.Stop()
	for began := time.Now(); ; {
		life.Silent = a.pulse.Listen(p.Collector(), p.Now)
		if len(life.Silent) == 0 || time.Since(began) > askFor {
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
