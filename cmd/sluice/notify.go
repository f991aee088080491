//go:build linux

package main

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"sluice/actors/node/observe/status"
)

// tellFor bounds a message to the service manager.
const tellFor = 500 * time.Millisecond

// notifier reports the state of the server to the service manager, sd_notify(3). Without one it
// does nothing.
type notifier struct {
	socket   string        // NOTIFY_SOCKET
	watchdog time.Duration // the manager kills a server that is silent for longer; 0 for no watchdog
	quit     chan struct{}
}

// newNotifier reads the variables that a service manager sets.
func newNotifier(environ []string) *notifier {
	n := &notifier{quit: make(chan struct{})}
	pid := ""
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		switch name {
		case "NOTIFY_SOCKET":
			n.socket = value
		case "WATCHDOG_PID":
			pid = value
		case "WATCHDOG_USEC":
			if us, err := strconv.ParseInt(value, 10, 64); err == nil && us > 0 {
				n.watchdog = time.Duration(us) * time.Microsecond
			}
		}
	}
	if pid != "" && pid != strconv.Itoa(os.Getpid()) {
		n.watchdog = 0 // for another process
	}
	return n
}

// tell sends a state. It ignores errors, because the manager has timeouts of its own.
func (n *notifier) tell(state string) {
	if n.socket == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"}) // @ is an abstract name
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetWriteDeadline(time.Now().Add(tellFor)) // a manager that does not read must not hold the server up
	_, _ = c.Write([]byte(state))
}

// watch reports to the manager's watchdog three times per interval while every actor and every other
// loop comes round, until close.
func (n *notifier) watch(s *service) {
	if n.socket == "" || n.watchdog == 0 {
		return
	}
	p, pulse := s.server, new(status.Pulse)
	tick := time.NewTicker(n.watchdog / 3)
	go func() {
		defer tick.Stop()
		for {
			select {
			case <-n.quit:
				return
			case <-tick.C:
				if status.Alive(pulse.Look(p.Collector(), p.Now)) {
					n.tell("WATCHDOG=1")
				}
			}
		}
	}()
}

func (n *notifier) close() { close(n.quit) }
