//go:build linux

package main

import (
	"sync"
	"time"
)

// lateAfter is how long an errand may take before a log line says so.
const lateAfter = 5 * time.Second

// errand is work that may hang, because it reads or writes files. It runs on a goroutine of its own,
// once at a time. Any goroutine.
type errand struct {
	do   func()
	late func() // called if do takes longer than lateAfter

	mu      sync.Mutex    // guards what follows
	running bool          // the goroutine exists
	next    chan struct{} // closed after the next run; nil if none is wanted
}

// start asks for a run. If one is under way, another one follows it, whatever the number of calls.
// The result is closed after the run.
func (e *errand) start() (done <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.next == nil {
		e.next = make(chan struct{})
	}
	done = e.next
	if !e.running {
		e.running = true
		go e.run()
	}
	return done
}

// run is the goroutine.
func (e *errand) run() {
	for {
		e.mu.Lock()
		done := e.next
		e.next, e.running = nil, done != nil
		e.mu.Unlock()
		if done == nil {
			return
		}
		late := time.AfterFunc(lateAfter, e.late)
		e.do()
		late.Stop()
		close(done)
	}
}
