package main

import (
	"testing"
	"testing/synctest"
	"time"
)

// One run is under way at a time. Requests during it are carried out by one more run, and a run that
// hangs is reported once and holds up nothing else.
func TestErrandRunsOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs, late, hang := 0, 0, make(chan struct{})
		e := &errand{do: func() { runs++; <-hang }, late: func() { late++ }}
		first := e.start()
		synctest.Wait()
		second := e.start()
		for range 10 {
			if e.start() != second {
				t.Error("more than one run waits")
			}
		}
		time.Sleep(10 * lateAfter)
		if runs != 1 || late != 1 {
			t.Errorf("%d runs, reported %d times", runs, late)
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
		if runs != 2 || e.running {
			t.Errorf("%d runs", runs)
		}
		<-e.start()
		if runs != 3 {
			t.Errorf("%d runs", runs)
		}
	})
}
