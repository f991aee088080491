package trials

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/actors"
	"sluice/transport"
)

// patienceOfPaused returns limits that clients would exceed if a pause of the server counted
// against them.
func patienceOfPaused() transport.Limits {
	return transport.Limits{HardBytes: 8 << 20, SoftBytes: 8 << 10, SoftFor: 1500 * time.Millisecond, NoProgress: 1500 * time.Millisecond}
}

// The server's process is stopped and continued at random while frames stream, at times for longer
// than a client may be slow. Every stream stays whole, no client is closed for the pause, and
// heartbeats continue.
func TestPauseOfServerIsNotHeldAgainstClients(t *testing.T) {
	if raced {
		t.Skip("under the race detector the readers of this trial cannot keep up, and are rightly closed as slow")
	}
	engines(t, func(t *testing.T, engine transport.Mode) {
		const size, brisk, lagging = 1000, 8, 12
		pauses := scale(3, 6, 500)
		c := spawn(t, rolePause, engine)
		at := c.hear("ready")
		tcp, local := how{network: "tcp", address: at[0]}, how{network: "unix", address: at[1]}
		var list []*reader
		for i := range brisk + lagging {
			h := tcp
			if i%2 == 1 {
				h = local
			}
			if i >= brisk {
				h.receive = 4 << 10
			}
			r, err := connect(h, uint64(i+1)<<32|0xABBA, size)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			list = append(list, r)
		}
		beats := heartbeats(t, tcp)
		if err := all(list, (*reader).follow); err != nil {
			t.Fatal(err)
		}
		checked := make(chan error, 1)
		go func() {
			checked <- all(list, func(r *reader) error {
				if r.token>>32 > brisk {
					return lag(r, 60)
				}
				return r.whole()
			})
		}()
		rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 9))
		var longest, sum time.Duration
		for i := range pauses {
			pause := 10*time.Millisecond + time.Duration(rng.Int64N(int64(1990*time.Millisecond)))
			if i%3 == 0 {
				pause = 1600*time.Millisecond + pause/5 // longer than the limits
			}
			longest, sum = max(longest, pause), sum+pause
			c.signal(unix.SIGSTOP)
			<-time.After(pause)
			for len(beats) > 0 {
				<-beats
			}
			c.signal(unix.SIGCONT)
			for range 2 { // the first may have been sent before the pause
				select {
				case <-beats:
				case err := <-checked:
					t.Fatalf("after pause %d of %v: %v", i+1, pause, err)
				case <-time.After(patience):
					t.Fatalf("no heartbeat after pause %d of %v", i+1, pause)
				}
			}
		}
		fmt.Fprintln(c.in, "enough")
		if err := <-checked; err != nil {
			t.Error(err)
		}
		c.in.Close()
		notes := uint64(0)
		for _, r := range list {
			notes += r.next - 1
		}
		closed := c.hear("closed")
		t.Logf("%d pauses of %v in all, the longest %v: %d notes to %d clients, of which %d lagged; %s closed before the end, %s notices of slow clients",
			pauses, sum.Round(time.Millisecond), longest, notes, len(list), lagging, closed[0], closed[1])
		c.end()
		if closed[0] != "0" {
			t.Errorf("%s clients were closed before the end:\n%s", closed[0], strings.Join(c.said, "\n"))
		}
	})
}

// heartbeats connects an idle client and returns a channel of its heartbeats.
func heartbeats(t *testing.T, h how) <-chan struct{} {
	t.Helper()
	idle, err := connect(beating(h), 1, 300)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { idle.Close() })
	beats := make(chan struct{}, 1)
	go func() {
		for {
			_ = idle.SetReadDeadline(time.Now().Add(patience)) // it fails with Next
			if _, _, err := idle.Next(); err != nil {
				return
			}
			select {
			case beats <- struct{}{}:
			default:
			}
		}
	}()
	return beats
}

// lag is whole for a client that pauses now and then, for less than its limits, and is blocked in
// the meantime. It pauses after a number of notes, about those of 300 ms, and not at fixed times:
// those could coincide with the times at which the server runs, and then hardly anything would be
// read. The first pause is earlier, at a different note for each client.
func lag(r *reader, notes uint64) error {
	for n := r.token >> 32 * notes / 12; ; n = notes {
		for range n {
			if ended, err := r.one(); ended || err != nil {
				return err
			}
		}
		<-time.After(100 * time.Millisecond)
	}
}

// paused is the server: it streams to all followers until the end of standard input.
func paused(t *testing.T, engine string) {
	mode, err := transport.ParseMode(engine)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, options{engine: mode, sendBuffer: 4608, heartbeat: 200 * time.Millisecond, limits: patienceOfPaused()})
	fmt.Printf("\nready %s %s\n", r.tcp.address, r.unix.address)
	words := make(chan string)
	go func() {
		defer close(words)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			words <- in.Text()
		}
	}()
	// Not an open loop: notes of a pause are not sent later, or a client that lags would really be
	// slow. At most 200 kB/s for each client: one that lags reads 4 KiB at a time and has to catch
	// up after each of its pauses, including on a loaded machine. While it pauses, it is blocked
	// nevertheless.
	every := time.NewTicker(5 * time.Millisecond)
	defer every.Stop()
	for on := true; on; {
		select {
		case <-words:
			on = false
		case <-every.C:
			r.call(func(f *feed) { f.tick(20) })
		}
	}
	<-r.stream(1, 0, nil) // the end of every stream
	<-words               // all clients have it
	r.drain()
	closed, slow := 0, 0
	for _, n := range r.notices { // complete: the pipeline has ended
		switch {
		case n.Kind == actors.NoticeSlow:
			slow++
		case n.Kind == actors.NoticeClosed && n.Reason != transport.ReasonPeerClosed:
			closed++
			fmt.Printf("\n%v: %d B unsent, blocked for %v\n", n.Reason, n.Unsent, n.Blocked)
		}
	}
	fmt.Printf("\nclosed %d %d\n", closed, slow)
}
