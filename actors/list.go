package actors

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"sluice/actors/internal/shard"
	"sluice/durability"
)

// SortBy is the order of a list of connections.
type SortBy uint8

const (
	ByBuffered SortBy = iota // most unsent bytes first, with those on a tape
	ByAge                    // connected longest first
	ByLag                    // behind longest first: the socket refuses bytes, or a drain waits for it
)

// String returns the text form.
func (o SortBy) String() string {
	switch o {
	case ByBuffered:
		return "buffered"
	case ByAge:
		return "age"
	case ByLag:
		return "lag"
	}
	return fmt.Sprintf("order(%d)", uint8(o))
}

// ParseSortBy parses buffered, age or lag.
func ParseSortBy(text string) (SortBy, error) {
	for o := ByBuffered; o <= ByLag; o++ {
		if o.String() == text {
			return o, nil
		}
	}
	return 0, fmt.Errorf("actors: order %q is unknown; use buffered, age or lag", text)
}

// Figures is the state of a connection at one moment.
type Figures struct {
	Conn      uint64
	Shard     int
	Class     uint8         // index of the limits that apply
	Age       time.Duration // since Connect
	Quiet     time.Duration // since the kernel took the last byte, or since Connect
	Lag       time.Duration // time for which the socket has refused bytes; 0 if it does not
	Unsent    int           // bytes of its own buffer
	Responses int           // responses not fully sent
	Sent      uint64        // bytes
	Ended     uint64        // requests whose last response was appended
	Topics    int           // subscriptions, including those that wait for a snapshot
	Behind    int           // bytes of topic frames on a tape that it was not sent; in no buffer of its own
	Slow      bool          // was reported as slow and has not recovered
	Half      bool          // the client sends no more requests and waits for its responses
	Closing   bool          // shut down; the kernel or the reader still uses the socket
}

// rank is what the list is sorted by, highest first.
func (o SortBy) rank(f *Figures) int64 {
	switch o {
	case ByAge:
		return int64(f.Age)
	case ByLag:
		return int64(f.Lag)
	}
	return int64(f.Unsent) + int64(f.Behind)
}

// MaxTop is the largest number of connections in a list.
const MaxTop = 1000

// Top returns the first n connections in an order, 1..MaxTop, and the number of open connections.
// Each shard examines its table a part at a time between its other work, so the list takes a few
// steps and is not of one instant.
func (p *Pipeline[R, Q]) Top(ctx context.Context, by SortBy, n int) (
	top []Figures, open int, err error,
) {
	if n < 1 || n > MaxTop || by > ByLag {
		return nil, 0, fmt.Errorf("actors: the first %d connections by %v; "+
			"use 1..%d, by buffered, age or lag", n, by, MaxTop)
	}
	rank, now := func(f *shard.Figures) int64 { return by.rank((*Figures)(f)) }, p.Now()
	parts := make([]*shard.Listing, len(p.shards))
	for i := range parts {
		parts[i] = &shard.Listing{Now: now, Next: 1, Done: make(chan struct{}),
			Conns: shard.Ranked[shard.Figures]{Rank: rank, Top: make([]shard.Figures, 0, n)}}
	}
	if err := p.list(ctx, parts); err != nil {
		return nil, 0, err
	}
	for _, part := range parts {
		for i := range part.Conns.Top {
			top = append(top, Figures(part.Conns.Top[i]))
		}
		open += part.Open
	}
	slices.SortFunc(top, func(a, b Figures) int {
		return cmp.Or(cmp.Compare(by.rank(&b), by.rank(&a)), cmp.Compare(a.Conn, b.Conn))
	})
	return top[:min(n, len(top))], open, nil
}

// list has each shard fill its part of a list, and waits until all parts are filled.
func (p *Pipeline[R, Q]) list(ctx context.Context, parts []*shard.Listing) error {
	select {
	case p.listTurn <- struct{}{}: // one list at a time: a shard has room for one
		defer func() { <-p.listTurn }()
	case <-ctx.Done():
		return fmt.Errorf("actors: waiting for another list of connections or topics: %w", context.Cause(ctx))
	case <-p.ended:
		return ErrEnded
	}
	for i := range parts {
		if err := p.send(shard.Event{Kind: shard.EventList, FD: int32(i), List: parts[i]}); err != nil {
			return err
		}
	}
	for i, part := range parts {
		select {
		case <-part.Done:
		case <-ctx.Done():
			return fmt.Errorf("actors: shard %d has not completed its list: %w", i, context.Cause(ctx))
		case <-p.ended:
			return ErrEnded
		}
	}
	return nil
}

// Respond sends a frame that is the last response to one request of a connection and was not a
// slot. The frame is sent at a frame boundary, before responses that still wait for durability.
// Respond returns once the frame is in the connection's send buffer. A frame above the connection's
// hard limit ends the connection.
func (p *Pipeline[R, Q]) Respond(conn uint64, frame []byte) error {
	done := make(chan error, 1)
	if err := p.send(shard.Event{Kind: shard.EventRespond, Conn: conn, Frame: string(frame),
		Ack: func(err error) { done <- err }}); err != nil {
		return err
	}
	return <-done // always answered: by the shard, or by finish
}

// Wait is the slot at the head of the gate and how long it has waited.
type Wait struct {
	Seq durability.Seq // wire seq of the slot
	For time.Duration  // since the gate first examined it
	// Proof is true if it waits for the proof that this node still leads; see Barrier.
	Proof bool
}

// Waiting reports whether a slot waits at the gate, and which one. Its figures may be of
// different slots if the gate moves on meanwhile.
func (p *Pipeline[R, Q]) Waiting() (w Wait, waiting bool) {
	since := p.gate.oldest.Load()
	if since == 0 {
		return Wait{}, false
	}
	return Wait{Seq: durability.Seq(p.gate.pending.Load()),
		For:   time.Duration(max(p.Now()-since, 0)),
		Proof: p.gate.binding.Load() == awaitsProof}, true
}
