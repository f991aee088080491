//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"sluice/actors/node/observe/status"
	"sluice/cmd/internal/config"
)

// sameSignal is the time in which a second SIGTERM counts as the same one: ctrl-C under make, or
// timeout(1), sends two.
const sameSignal = 500 * time.Millisecond

// stopFor is the limit of a stop without a drain.
const stopFor = time.Second

// supervision is what the loop of a server knows. The loop starts things and never writes, reads a
// file, or waits for anything but its channels, so that the next signal always has its effect.
type supervision struct {
	*service
	report   *errand          // the table on standard error
	file     *errand          // --stats-file
	ended    <-chan struct{}  // of the server; nil once that is known, or while it drains
	leave    <-chan time.Time // ends --drain-delay; nil before SIGTERM and without one
	drained  chan error       // result of the drain
	finished <-chan struct{}  // closed when nothing is left to do after the end of the server
	progress *time.Ticker     // while the server drains
	began    time.Time        // of the drain; zero without one
	counted  time.Time        // last SIGTERM or SIGINT that was not an echo
	stopping bool             // a second signal came
	notified <-chan struct{}  // closed when the service manager was told of the drain; nil without one
	result   error            // of serve
}

// supervise handles signals until the server and its observation have ended.
func (s *service) supervise() error {
	v := &supervision{service: s, ended: s.server.Ended(), drained: make(chan error, 1),
		progress: time.NewTicker(time.Second)}
	v.progress.Stop()
	defer v.progress.Stop()
	v.report = &errand{do: func() { s.table(s.server) }, late: func() {}}
	v.file = &errand{do: s.writeStats, late: func() {
		s.log.Warn("measurements not written in time", "file", s.cfg.StatsFile)
	}}
	s.reloads.begin()
	for {
		select {
		case <-v.ended:
			v.finish(s.server.Err())
		case <-v.leave:
			v.drain(syscall.SIGTERM)
		case err := <-v.drained:
			v.drainEnded(err)
		case <-v.finished:
			v.lastWords()
			return v.result
		case <-v.progress.C:
			s.say("still draining after %s; %s connected", since(v.began), plural(uint64(s.server.Connections()), "client"))
		case got := <-s.signals.ask:
			v.asked(got)
		case got := <-s.signals.end:
			if v.told(got) {
				return v.result
			}
		}
	}
}

// asked handles SIGUSR1 and SIGHUP. A reload during a drain would change nothing.
func (v *supervision) asked(got os.Signal) {
	switch {
	case got == syscall.SIGUSR1:
		v.report.start()
		v.file.start()
	case v.began.IsZero():
		v.reloads.run.start()
	}
}

// told handles SIGTERM and SIGINT: the first one drains, after --drain-delay, the second one stops, and the next one ends
// the process whatever it waits for, which is the result.
func (v *supervision) told(got os.Signal) (now bool) {
	if !v.counted.IsZero() && time.Since(v.counted) < sameSignal { // an echo
		return false
	}
	v.counted = time.Now() // before anything is printed, on which another signal may follow
	switch {
	case v.finished != nil: // nothing is left but reports and exports
		return true
	case v.stopping:
		v.result = fmt.Errorf("%v for the third time; ended without waiting for the disk", got)
		return true
	case v.began.IsZero() && v.leave == nil && v.cfg.LeaveFor > 0:
		v.server.Leave()
		v.leave = time.After(v.cfg.LeaveFor)
		v.say("%v: not ready, and draining in %s; the same signal again drains at once", got,
			config.FormatDuration(v.cfg.LeaveFor))
	case v.began.IsZero():
		v.drain(got)
	default:
		v.stop(got)
	}
	return false
}

// drain begins to drain the server, within the deadline.
func (v *supervision) drain(got os.Signal) {
	v.began, v.ended, v.leave = time.Now(), nil, nil
	v.reloads.end()
	v.until = v.began.Add(v.cfg.DrainFor)
	until := v.until
	go func() {
		ctx, cancel := context.WithDeadline(context.Background(), until)
		defer cancel()
		v.drained <- v.server.Drain(ctx)
	}()
	told := make(chan struct{})
	v.notified = told
	go func() {
		defer close(told)
		v.manager.tell("STOPPING=1")
	}()
	v.trail.record("drain", "signal", got.String(), "deadline", v.cfg.DrainFor.String())
	v.say("%v: draining for at most %s; the same signal again stops at once", got,
		config.FormatDuration(v.cfg.DrainFor))
	v.progress.Reset(time.Second)
}

// stop turns the drain into a stop.
func (v *supervision) stop(got os.Signal) {
	v.stopping = true
	v.until = time.Now().Add(stopFor)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopFor)
		defer cancel()
		_ = v.server.Stop(ctx) // Drain returns the same error
	}()
	v.trail.record("stop at once", "signal", got.String())
	v.say("%v again: stopping now", got)
}

func (v *supervision) drainEnded(err error) {
	v.progress.Stop()
	if err != nil {
		err = fmt.Errorf("stopped after %s with responses unsent: %w", since(v.began), err)
	} else {
		v.say("drained in %s", since(v.began))
	}
	v.finish(err)
}

// finish writes the final measurements of a server that has ended to --stats-file, and prints them if
// it failed: otherwise the log ends with the lines that say how it ended. It ends the observation,
// beside the loop, and does not wait for a disk that hangs.
func (v *supervision) finish(result error) {
	finished, told := make(chan struct{}), v.notified
	v.result, v.ended, v.finished = result, nil, finished
	go func() {
		defer close(finished)
		v.server.Collector().Final()
		limit, cancel := context.WithTimeout(context.Background(), stopFor)
		defer cancel()
		file := v.file.start()
		if result != nil {
			select {
			case <-v.report.start():
			case <-limit.Done():
			}
		}
		select {
		case <-file:
		case <-limit.Done():
			v.log.Warn("measurements not written in time", "file", v.cfg.StatsFile)
		}
		v.unobserve()
		if told != nil {
			<-told // which takes at most tellFor
		}
		v.manager.close()
	}()
}

// lastWords says behind all measurements that a member has ended because it is not one any more.
func (s *service) lastWords() {
	if m, is := s.server.(interface{ Left() error }); is {
		if err := m.Left(); err != nil {
			s.say("ended for good: %v", err)
		}
	}
}

// writeStats writes the measurements to --stats-file.
func (s *service) writeStats() {
	if s.cfg.StatsFile == "" {
		return
	}
	if err := status.Measure(s.server).WriteFile(s.cfg.StatsFile); err != nil {
		s.log.Error("measurements not written", "error", err)
	}
}

func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }
