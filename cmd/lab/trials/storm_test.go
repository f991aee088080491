package trials

import (
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/telemetry"
	"sluice/transport"
)

// Signals are sent at a high rate to the process and to each of its threads, while numbered notes
// stream to clients that read at once and to some that pause, so that their sockets are full. Every
// stream stays whole. The stream of 30,000 notes a second slows down if signals come at less than 1
// kHz.
func TestStreamsSurviveSignalStorm(t *testing.T) {
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, unix.SIGUSR2) // without this the signal would end the process
	defer signal.Stop(heard)
	engines(t, func(t *testing.T, engine transport.Mode) {
		const clients, lagging, size, rate, each = 40, 10, 300, 30_000, 30 // each: most notes for one signal
		total := scale(20_000, 60_000, 5_000_000)
		limits := lenient()
		limits.HardBytes, limits.SoftBytes = 8<<20, 8<<20
		r := newRig(t, options{engine: engine, sendBuffer: 8 << 10, limits: limits})
		checked := watch(r.followers(clients-lagging, size))
		var laggards []*reader
		for i := range lagging {
			h := r.tcp
			if i%2 == 1 {
				h = r.unix
			}
			h.receive = 4 << 10
			c := r.dial(h, size)
			r.need(c.follow())
			laggards = append(laggards, c)
		}
		stop, stormed := make(chan struct{}), make(chan struct{})
		var signals atomic.Int64
		r.most = func() int { return int(each * signals.Load()) }
		began := time.Now()
		go storm(&signals, stop, stormed)
		done := r.stream(rate, total, nil)
		until(t, "all pausing clients to be blocked", func() bool { return r.gauge(telemetry.EgressBlockedConnections) >= lagging })
		r.need(all(laggards, func(c *reader) error { return lag(c, rate/clients*3/10) }))
		r.need(<-checked)
		<-done
		close(stop)
		<-stormed
		t.Logf("%d signals (%.0f/s) during %d frames: %d sends, %d short, %d refused, %d interrupted",
			signals.Load(), float64(signals.Load())/time.Since(began).Seconds(), total, r.count(telemetry.EgressSendOK), r.count(telemetry.EgressSendShort),
			r.count(telemetry.EgressSendAgain), r.count(telemetry.EgressInterrupted))
		r.drain()
	})
}

// storm sends about ten thousand signals a second, to the process and to its threads in turn, and
// counts them.
func storm(sent *atomic.Int64, stop <-chan struct{}, stopped chan<- struct{}) {
	defer close(stopped)
	every := time.NewTicker(500 * time.Microsecond)
	defer every.Stop()
	pid := os.Getpid()
	for {
		select {
		case <-stop:
			return
		case <-every.C:
		}
		for _, s := range []unix.Signal{unix.SIGURG, unix.SIGUSR2} {
			if unix.Kill(pid, s) == nil {
				sent.Add(1)
			}
		}
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			continue
		}
		for i, d := range threads {
			if tid, err := strconv.Atoi(d.Name()); err == nil && i < 4 && unix.Tgkill(pid, tid, unix.SIGURG) == nil {
				sent.Add(1)
			}
		}
	}
}
