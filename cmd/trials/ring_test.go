package trials

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"sluice/telemetry"
	"sluice/transport"
)

// A ring of 256 entries serves ten thousand connections that all have something to send at once.
func TestManyMoreConnectionsThanRingEntries(t *testing.T) {
	engines(t, func(t *testing.T, engine transport.Mode) {
		const entries, rounds = 256, 20
		n := scale(1_000, 10_000, 10_000)
		needFiles(t, n+200)
		r := newRig(t, options{engine: engine, entries: entries, max: n, ids: n, shards: 1, mute: true})
		began := time.Now()
		c := spawn(t, roleFull, "tcp", r.tcp.address, n)
		c.hear("ready")
		if live := r.pipeline.Connections(); live != n {
			t.Errorf("%d connections hold a permit, want %d", live, n)
		}
		dialled := time.Since(began)
		submits := r.count(telemetry.EgressSubmits)
		for range rounds {
			r.call(func(f *feed) { f.tick(n) }) // one note to each, in one publish
		}
		<-r.stream(1, 0, nil) // the end of every stream
		if got := c.hear("notes"); len(got) != 1 || got[0] != strconv.Itoa(n*rounds) {
			t.Errorf("the clients received %v notes, want %d", got, n*rounds)
		}
		t.Logf("%d connections on %d entries: dialled in %.1f s (%.0f/s), %d notes, %d submits",
			n, entries, dialled.Seconds(), float64(n)/dialled.Seconds(), n*rounds, r.count(telemetry.EgressSubmits)-submits)
		c.end()
		r.drain()
	})
}

// A server that runs out of descriptors goes on serving who is there, lets the others wait in the backlog, and accepts again
// when descriptors come back.
func TestAcceptingResumesAfterDescriptorsRanOut(t *testing.T) {
	engines(t, func(t *testing.T, engine transport.Mode) {
		const files, clients, served = 96, 120, 20
		c := spawn(t, roleStarv, engine, files)
		at := c.hear("ready")
		for i, h := range []how{{network: "tcp", address: at[0]}, {network: "unix", address: at[1]}} {
			attempts := make(chan *reader, clients)
			errs := make(chan error, clients)
			for k := range clients {
				go func() { // those beyond the limit wait for their handshake
					r, err := connect(h, uint64(1000*i+k+1)<<32, 300)
					if err != nil {
						errs <- fmt.Errorf("client %d on %s: %w", k, h.network, err)
						return
					}
					attempts <- r
				}()
			}
			// Whoever is let in is served; each that leaves makes room for one that waits.
			for k := range clients {
				select {
				case err := <-errs:
					t.Fatal(err)
				case r := <-attempts:
					if err := r.exchange(5); err != nil {
						t.Fatal(err)
					}
					if k < served { // the first stay until others wait
						defer r.Close()
						continue
					}
					r.Close()
				}
			}
		}
		c.in.Close()
		if got := c.hear("pauses"); len(got) != 1 || got[0] == "0" {
			t.Errorf("accepting paused %v times; the descriptors did not run out", got)
		}
		c.end()
	})
}

// Thousands of clients that connect at the same moment are all let in and served.
func TestAConnectStorm(t *testing.T) {
	engines(t, func(t *testing.T, engine transport.Mode) {
		n := scale(500, 2_000, 4_000)
		needFiles(t, 2*n+200)
		r := newRig(t, options{engine: engine, max: n, mute: true})
		began := time.Now()
		slots := make([]*reader, n)
		errs := make(chan error, n)
		for i := range n {
			go func() {
				h := r.tcp
				if i%2 == 1 {
					h = r.unix
				}
				c, err := connect(h, uint64(i+1)<<32|0xBEEF, 100)
				if err == nil {
					slots[i] = c
					err = c.exchange(3)
				}
				errs <- err
			}()
		}
		for range n {
			r.need(<-errs)
		}
		t.Logf("%d clients connected and served in %.2f s (%.0f/s)", n, time.Since(began).Seconds(), float64(n)/time.Since(began).Seconds())
		if live := r.pipeline.Connections(); live != n {
			t.Errorf("%d connections hold a permit, want %d", live, n)
		}
		r.readers = append(r.readers, slots...)
		r.drain()
	})
}
