package status

import (
	"fmt"
	"sync"
	"time"

	"sluice/telemetry"
)

// Times after which a loop that has not come round is shown, and counts as dead.
const (
	StalledFor = time.Second // before it is shown in the status and logged

	maxSilence = 5 * time.Second  // actors
	maxWait    = 30 * time.Second // loops that wait for the disk or its queue; a restart cures no disk

	snapshotFor = time.Minute // before a snapshot is shown; one never counts as dead, because clients are served
)

// Silent is an actor that runs and has not stepped, or another loop of the node that has not come
// round.
type Silent struct {
	Actor   string  `json:"actor"` // kind of actor, or "reader", "sequencer", "journal", "snapshot", "ring", "log", "executor"
	Shard   int     `json:"shard"` // which of them, -1 for the only one
	Seconds float64 `json:"silent_seconds"`
}

// String says which loop it is and for how long it has not come round.
func (s Silent) String() string {
	name, did := s.Actor, "come round"
	if s.Shard != telemetry.NoShard {
		name = fmt.Sprintf("%s %d", s.Actor, s.Shard)
	}
	if s.Actor == "ring" {
		did = "taken a request"
	}
	return fmt.Sprintf("%s has not %s for %s", name, did, Span(s.Seconds))
}

// limits are the times after which a loop is shown, and counts as dead; 0 for never.
func (s Silent) limits() (shown, dead time.Duration) {
	switch s.Actor {
	case "reader", "journal", "executor":
		return StalledFor, maxWait
	case "snapshot":
		return snapshotFor, 0
	}
	return StalledFor, maxSilence
}

// Pulse measures for how long actors have not answered a collection, and other loops have not come
// round. An idle actor answers through its parked block, and an idle loop says that it waits for
// work. So silence means that it works, or is stuck. It is measured from the first look that found
// it so. Any goroutine.
type Pulse struct {
	mu   sync.Mutex // guards what follows
	open map[loopID]round
	last []Silent // of the last look
}

type loopID struct {
	name  string
	index int
}

// round is the round of a loop that was under way at a look.
type round struct {
	mark  uint64          // differs in another round
	began telemetry.Nanos // the first look that found it
}

// Look collects once and returns what is silent, with the time since. now is the pipeline's clock.
func (p *Pulse) Look(c *telemetry.Collector, now func() int64) (silent []Silent) {
	began := now()
	c.Collect(0)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = map[loopID]round{}
	}
	c.Each(func(t *telemetry.Totals) {
		id := loopID{t.Actor, t.Shard}
		if t.AnsweredAt >= began {
			delete(p.open, id)
			return
		}
		since := p.since(id, uint64(t.AnsweredAt), began)
		silent = append(silent, id.silent(now()-since))
	})
	c.Loops(func(l telemetry.Loop) {
		id, n := loopID{l.Name, l.Index}, l.Rounds()
		if n&1 == 0 {
			delete(p.open, id)
		} else if since := p.since(id, n, began); since < began { // not the first look at this round
			silent = append(silent, id.silent(now()-since))
		}
	})
	p.last = silent
	return silent
}

// since is the first look that found a loop in a round. The caller holds the mutex.
func (p *Pulse) since(id loopID, mark uint64, look telemetry.Nanos) telemetry.Nanos {
	r, known := p.open[id]
	if !known || r.mark != mark {
		r = round{mark: mark, began: look}
		p.open[id] = r
	}
	return r.began
}

func (id loopID) silent(ns int64) Silent {
	return Silent{Actor: id.name, Shard: id.index, Seconds: time.Duration(ns).Seconds()}
}

// Stalled returns what the last look found silent for long enough to be shown.
func (p *Pulse) Stalled() []Silent {
	p.mu.Lock()
	defer p.mu.Unlock()
	shown := []Silent{}
	for _, s := range p.last {
		if least, _ := s.limits(); s.Seconds > least.Seconds() {
			shown = append(shown, s)
		}
	}
	return shown
}

// Alive reports whether none of the silent counts as dead: actors, the sequencer, the log of a cluster and
// rings after five seconds, readers, the journal and the executor of a cluster after thirty.
func Alive(silent []Silent) bool {
	for _, s := range silent {
		if _, most := s.limits(); most > 0 && s.Seconds > most.Seconds() {
			return false
		}
	}
	return true
}
