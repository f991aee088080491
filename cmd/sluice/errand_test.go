package main

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// One run is under way at a time. Requests during it are carried out by one more run, and a run that
// hangs is reported once and holds up nothing else.
func TestErrandRunsOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs, late atomic.Int32
		hang := make(chan struct{})
		e := &errand{do: func() { runs.Add(1); <-hang }, late: func() { late.Add(1) }}
		first := e.start()
		synctest.Wait()
		second := e.start()
		for range 10 {
			if e.start() != second {
				t.Error("more than one run waits")
			}
		}
		time.Sleep(10 * lateAfter)
		if runs.Load() != 1 || late.Load() != 1 {
			t.Errorf("%d runs, reported %d times", runs.Load(), late.Load())
		}
		select {
		case <-first:
			t.Error("the first run has ended")
		default:
		}
		close(hang)
		<-first
		<-second
		synctest.Wait()
		e.mu.Lock()
		running := e.running
		e.mu.Unlock()
		if runs.Load() != 2 || running {
			t.Errorf("%d runs", runs.Load())
		}
		<-e.start()
		if runs.Load() != 3 {
			t.Errorf("%d runs", runs.Load())
		}
	})
}
