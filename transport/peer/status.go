package peer

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Status is the state of one lane with one node.
type Status struct {
	Node        uint8
	Lane        Lane
	Address     string // that is connected to
	Version     string // of the node's program; empty: never connected
	Incarnation uint64 // highest that was seen; 0: never connected
	Out         Flow   // to the node
	In          Flow   // from the node
	Waiting     int    // bytes in the queue to the node
	Dropped     uint64 // frames to the node that were not sent, and those lost when a write failed
}

// Flow is one direction of a lane. A half-open connection counts as connected until it is noticed.
type Flow struct {
	Connected   bool
	Since       time.Time // of Connected; zero: never connected
	Connections uint64    // made so far
	Frames      uint64    // of data, given to the kernel or to Receive
	Bytes       uint64    // of these, with headers
	Error       string    // the last one; empty: none
	ErrorAt     time.Time
}

// flow is the changing part of a Flow. Its owner sets the counters; Links.mu guards the rest.
type flow struct {
	frames, bytes atomic.Uint64
	state         Flow // without counters of frames and bytes
}

func (f *flow) set(connected bool) {
	f.state.Connected, f.state.Since = connected, time.Now()
	if connected {
		f.state.Connections++
	}
}

func (f *flow) fail(err error) { f.state.Error, f.state.ErrorAt = err.Error(), time.Now() }

func (f *flow) snapshot() Flow {
	s := f.state
	s.Frames, s.Bytes = f.frames.Load(), f.bytes.Load()
	return s
}

// Status returns the state of all lanes, by node and lane.
func (l *Links) Status() []Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Status
	for n := range l.remotes {
		p := l.remotes[n].Load()
		for i := 0; p != nil && i < lanes; i++ {
			s := Status{Node: p.node, Lane: Lane(i + 1), Address: *p.address.Load(), Version: p.version,
				Incarnation: p.known.incarnation, Out: p.out[i].flow.snapshot(), In: p.in[i].flow.snapshot()}
			s.Waiting, s.Dropped = p.out[i].queue.state()
			all = append(all, s)
		}
	}
	return all
}

const (
	linesAtOnce = 5
	lineEvery   = 5 * time.Second
)

// limiter bounds log lines that a peer can cause. The zero value is ready.
type limiter struct {
	mu      sync.Mutex
	full    time.Time // when linesAtOnce are available again
	skipped int
}

// log writes a line, or counts it in the next one that is written.
func (l *limiter) log(to *slog.Logger, level slog.Level, text string, attrs ...any) {
	l.mu.Lock()
	now := time.Now()
	if l.full.Before(now) {
		l.full = now
	}
	if l.full.Sub(now) > (linesAtOnce-1)*lineEvery {
		l.skipped++
		l.mu.Unlock()
		return
	}
	l.full = l.full.Add(lineEvery)
	if l.skipped > 0 {
		attrs = append(attrs, "skipped_lines", l.skipped)
		l.skipped = 0
	}
	l.mu.Unlock()
	to.Log(context.Background(), level, text, attrs...)
}
