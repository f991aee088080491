package main

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"sluice/actors/node/observe"
)

// notifier tells the service manager how the server does, sd_notify(3). Without a service manager it does nothing.
type notifier struct {
	socket   string        // NOTIFY_SOCKET
	watchdog time.Duration // the manager kills a server that is silent for longer; 0 = it does not watch
	quit     chan struct{}
}

// newNotifier reads what a service manager put into the environment.
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
		n.watchdog = 0 // it is meant for another process
	}
	return n
}

// tell sends a state. A manager that does not hear it has its own timeouts, so an error is not worth more than silence.
func (n *notifier) tell(state string) {
	if n.socket == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"}) // @ is an abstract name
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Write([]byte(state))
}

// watch answers the manager's watchdog three times as often as it asks, as long as every actor comes round, until close.
func (n *notifier) watch(s *service) {
	if n.socket == "" || n.watchdog == 0 {
		return
	}
	p, pulse := s.server, new(observe.Pulse)
	tick := time.NewTicker(n.watchdog / 3)
	go func() {
		defer tick.Stop()
		for {
			select {
			case <-n.quit:
				return
			case <-tick.C:
				if observe.Alive(pulse.Listen(p.Collector(), p.Now)) {
					n.tell("WATCHDOG=1")
				}
			}
		}
	}()
}

func (n *notifier) close() { close(n.quit) }
