package actors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/durability"
)

// ErrOvertaken is the cause of a DrainError if another call of Stop or Fence ended the pipeline
// while it drained.
var ErrOvertaken = errors.New("another call of Stop or Fence ended the pipeline")

// DrainError is the error of a Drain, Stop or Fence that could not finish: Drain has not delivered
// everything, or sockets or goroutines are still in use. It says what was waited for at that moment.
// The pipeline has ended, unless Running is not empty.
type DrainError struct {
	Op    string // "drain", "stop" or "fence"
	Cause error  // why it waited no longer: the cause of its context, or ErrOvertaken

	Open    bool           // the producer had not closed the slot ring (Slots().Close)
	Slots   int            // slots that were not released, because their events were not durable
	Seq     durability.Seq // wire seq of the first of those
	Waiting []Awaited      // connections, at most 8, most unsent bytes first
	More    int            // further connections
	Running []string       // goroutines that have not returned, with the names of their actors
}

// Awaited is a connection that an end waited for.
type Awaited struct {
	Conn    uint64
	Unsent  int  // bytes that its socket refused
	Unacked int  // bytes in the kernel that the client has not acknowledged
	Reader  bool // its reader has not called Disconnect, so its socket is open until it does
}

// String returns the text that an error shows.
func (a Awaited) String() string {
	var why []string
	if a.Unsent > 0 {
		why = append(why, fmt.Sprintf("%d B unsent", a.Unsent))
	}
	if a.Unacked > 0 {
		why = append(why, fmt.Sprintf("%d B unacknowledged", a.Unacked))
	}
	if a.Reader {
		why = append(why, "its reader has not called Disconnect")
	}
	return fmt.Sprintf("%d (%s)", a.Conn, strings.Join(why, ", "))
}

// Error implements error.
func (e *DrainError) Error() string {
	text := []string{fmt.Sprintf("actors: %s not finished: %v", e.Op, e.Cause)}
	if e.Open {
		text = append(text, "the slot ring was not closed; its producer calls Slots().Close first")
	}
	if e.Slots > 0 {
		text = append(text, fmt.Sprintf("%d slots were not durable, from seq %d on", e.Slots, e.Seq))
	}
	if len(e.Waiting) > 0 {
		names := make([]string, len(e.Waiting), len(e.Waiting)+1)
		for i := range e.Waiting {
			names[i] = e.Waiting[i].String()
		}
		if e.More > 0 {
			names = append(names, fmt.Sprintf("and %d more", e.More))
		}
		text = append(text, "connections not done: "+strings.Join(names, ", "))
	}
	if len(e.Running) > 0 {
		text = append(text, "not returned: "+strings.Join(e.Running, ", ")+
			"; does the encoder, OnNotice or OnFail block?")
	}
	return strings.Join(text, "; ")
}

// Unwrap returns Cause.
func (e *DrainError) Unwrap() error { return e.Cause }

// awaitedMost bounds the connections that an error names.
const awaitedMost = 8

// leftover is what the end found unfinished. It is written before ended is closed.
type leftover struct {
	slots   int // that the gate did not release
	seq     durability.Seq
	open    bool      // the slot ring was not closed
	forced  bool      // connections were closed before their time
	waiting []Awaited // those that were awaited then
}

// unfinished returns the error of an end that could not wait any longer, for a pipeline that has
// ended; nil if nothing is left. Only a drain delivers everything; any end waits for the readers.
func (p *Pipeline[R, Q]) unfinished(op string, cause error) error {
	if p.err != nil {
		return p.err
	}
	e := &DrainError{Op: op, Cause: cause}
	incomplete := false
	if op == "drain" {
		e.Open, e.Slots, e.Seq = p.left.open, p.left.slots, p.left.seq
		e.Waiting = slices.Clone(p.left.waiting)
		incomplete = p.left.forced || e.Open || e.Slots > 0
	}
	p.sockets.mu.Lock()
	for conn := range p.sockets.orphans {
		if op != "drain" { // which names those readers that it gave time
			e.Waiting = append(e.Waiting, Awaited{Conn: conn, Reader: true})
		}
		incomplete = true
	}
	p.sockets.mu.Unlock()
	if !incomplete {
		return nil
	}
	slices.SortFunc(e.Waiting, func(a, b Awaited) int {
		return cmp.Or(cmp.Compare(b.Unsent, a.Unsent), cmp.Compare(b.Unacked, a.Unacked),
			cmp.Compare(a.Conn, b.Conn))
	})
	if e.More = len(e.Waiting) - awaitedMost; e.More > 0 {
		e.Waiting = e.Waiting[:awaitedMost]
	} else {
		e.More = 0
	}
	return e
}

// cause is why an end with this context waited no longer.
func (p *Pipeline[R, Q]) cause(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// The actors may see a deadline before the timer of the context does.
	if at, bounded := ctx.Deadline(); bounded && (!p.phase.Over() || !time.Now().Before(at)) {
		return context.DeadlineExceeded
	}
	return ErrOvertaken
}
