//go:build linux

package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// signals are the signals of a server, caught from its first moment on.
type signals struct {
	ask     chan os.Signal // SIGUSR1 and SIGHUP; those that come during the start are handled after it
	end     chan os.Signal // SIGTERM and SIGINT
	started chan struct{}  // closed by serving
	gone    chan struct{}  // closed when no goroutine reads end any more
}

// catch begins to catch signals. Until serving, a SIGTERM or SIGINT ends the process at once, even
// during a long recovery: nothing is lost by that.
func catch() *signals {
	s := &signals{ask: make(chan os.Signal, 8), end: make(chan os.Signal, 8),
		started: make(chan struct{}), gone: make(chan struct{})}
	signal.Notify(s.ask, syscall.SIGUSR1, syscall.SIGHUP)
	signal.Notify(s.end, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		defer close(s.gone)
		select {
		case got := <-s.end:
			die(got)
		case <-s.started:
		}
	}()
	return s
}

// serving leaves SIGTERM and SIGINT to the caller from here on.
func (s *signals) serving() {
	close(s.started)
	<-s.gone
}

// release ends the catching.
func (s *signals) release() {
	signal.Stop(s.ask)
	signal.Stop(s.end)
	select {
	case <-s.gone:
	default:
		s.serving()
	}
}

// die ends the process by a signal, as if it had not been caught. The kernel does not do that to
// process 1 of a container, nor with a SIGINT that was ignored when the process began, as a shell does
// for what it runs in the background; the exit code then is what a shell reports for
// the signal.
func die(got os.Signal) {
	number := got.(syscall.Signal)
	if os.Getpid() != 1 {
		signal.Reset(got)
		if syscall.Kill(os.Getpid(), number) == nil {
			time.Sleep(time.Second) // until it has arrived; it never does if the parent had it ignored
		}
	}
	os.Exit(128 + int(number))
}
