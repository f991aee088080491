package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"sluice/actors"
	"sluice/durability"
)

// nameRoom is the room of the name before a message, bytes.
const nameRoom = 32

// event is what happened in the room.
type event struct {
	kind kind
	conn uint64
	text string
}

type kind uint8

const (
	joined kind = iota
	left
	said
)

// room is the application: its goroutine alone numbers events and publishes slots.
type room struct {
	pipeline *pipeline
	cursors  *durability.Cursors
	events   chan event
	ended    chan struct{} // the goroutine has ended

	readers sync.WaitGroup
	mu      sync.Mutex // guards closed, and Add of readers against its Wait
	closed  bool
}

func newRoom(p *pipeline, cursors *durability.Cursors) *room {
	r := &room{pipeline: p, cursors: cursors, events: make(chan event, 64), ended: make(chan struct{})}
	go r.run()
	return r
}

// enter counts a reader; false if the room is closed.
func (r *room) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.readers.Add(1)
	}
	return !r.closed
}

func (r *room) join(conn uint64)             { r.put(event{joined, conn, "joined"}) }
func (r *room) leave(conn uint64)            { r.put(event{left, conn, "left"}) }
func (r *room) say(conn uint64, text string) { r.put(event{said, conn, text}) }

// put waits while the room is behind. What comes after the end is dropped.
func (r *room) put(e event) {
	select {
	case r.events <- e:
	case <-r.ended:
	}
}

// close ends the room; nothing is published any more.
func (r *room) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.put(event{}) // no connection has the number 0
	<-r.ended
}

// run numbers the events and publishes a line for each client in the room, until close.
func (r *room) run() {
	defer close(r.ended)
	defer r.pipeline.Slots().Close()
	present := map[uint64]bool{}
	for seq := durability.Seq(1); ; seq++ {
		e := <-r.events
		switch {
		case e.conn == 0:
			return
		case e.kind == joined:
			present[e.conn] = true
		case e.kind == left:
			delete(present, e.conn)
		}
		line := fmt.Sprintf("client %d %s", e.conn, e.text)
		if e.kind == said {
			line = fmt.Sprintf("client %d: %s", e.conn, e.text)
		}
		if err := r.publish(seq, line, slices.Sorted(maps.Keys(present))); err != nil {
			return // the pipeline has ended
		}
		r.cursors.SetPersisted(seq) // a journal does this once the event is on disk
	}
}

// publish publishes a line for each of some clients.
func (r *room) publish(seq durability.Seq, line string, to []uint64) error {
	slots, now := r.pipeline.Slots(), r.pipeline.Now()
	for len(to) > 0 {
		some, err := slots.ClaimWait(context.Background(), len(to))
		if err != nil {
			return err
		}
		for i := range some {
			some[i] = actors.Slot[string, struct{}]{Conn: to[i], Seq: seq, Received: now, Matched: now,
				Report: line}
		}
		slots.Commit(len(some))
		to = to[len(some):]
	}
	slots.Publish()
	return nil
}
