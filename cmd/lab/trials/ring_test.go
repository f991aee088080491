package trials

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"sluice/telemetry"
	"sluice/transport"
)

// A ring of 256 entries serves ten thousand connections that all have data to send at once. Behind
// a shut gate all of them connect and wait; when it opens, each gets everything that was held for
// it.
func TestManyMoreConnectionsThanRingEntries(t *testing.T) {
	gates(t, func(t *testing.T, engine transport.Mode, shut bool) {
		const entries = 256
		n, rounds := scale(1_000, 10_000, 10_000), 20
		needFiles(t, n+200)
		r := newRig(t, options{engine: engine, entries: entries, max: n, ids: n, shards: 1, mute: true})
		if shut {
			rounds = 6 // more would not fit into the slot ring
			r.shutGate()
		}
		began := time.Now()
		c := spawn(t, roleFull, "tcp", r.tcp.address, n)
		if shut {
			c.hear("dialled")
			until(t, "all requests to be read", func() bool { return r.listener.Counters().Requests == uint64(n) })
			r.openGate()
		}
		c.hear("ready")
		if live := r.pipeline.Connections(); live != n {
			t.Errorf("%d connections hold a permit, want %d", live, n)
		}
		dialled := time.Since(began)
		submits := r.count(telemetry.EgressSubmits)
		if shut {
			r.shutGate()
		}
		for range rounds {
			r.call(func(f *feed) { f.tick(n) }) // one note to each, in one publish
		}
		if shut {
			r.openGate()
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

// A server that runs out of descriptors continues to serve its connections, leaves new clients in
// the backlog, and accepts again when descriptors are free. Behind a shut gate connected clients
// get heartbeats, and their responses when it opens; clients that leave without their responses
// free their descriptors as well.
func TestAcceptingResumesAfterDescriptorsRanOut(t *testing.T) {
	gates(t, func(t *testing.T, engine transport.Mode, shut bool) {
		const files, clients, served, notes = 96, 120, 20, 5
		c := spawn(t, roleStarv, engine, files)
		at := c.hear("ready")
		serve := func(r *reader) error { return r.exchange(notes) }
		if shut {
			c.tell("shut")
			serve = func(r *reader) error { return r.held(notes) }
		}
		var stayed []*reader
		for i, h := range []how{{network: "tcp", address: at[0], beats: true}, {network: "unix", address: at[1], beats: true}} {
			attempts := make(chan *reader, clients)
			errs := make(chan error, clients)
			for k := range clients {
				go func() { // clients beyond the limit wait for their handshake
					r, err := connect(h, uint64(1000*i+k+1)<<32, 300)
					if err != nil {
						errs <- fmt.Errorf("client %d on %s: %w", k, h.network, err)
						return
					}
					attempts <- r
				}()
			}
			// Every accepted client is served, and each that leaves makes room for a waiting one.
			for k := range clients {
				select {
				case err := <-errs:
					t.Fatal(err)
				case r := <-attempts:
					defer r.Close()
					if err := serve(r); err != nil {
						t.Fatal(err)
					}
					if k < served { // the first clients stay until others wait
						stayed = append(stayed, r)
						continue
					}
					r.Close()
				}
			}
		}
		if shut {
			c.tell("open")
			if err := all(stayed, func(r *reader) error { return r.freed(notes) }); err != nil {
				t.Fatal(err)
			}
		}
		c.in.Close()
		if got := c.hear("pauses"); len(got) != 1 || got[0] == "0" {
			t.Errorf("accepting paused %v times; the descriptors did not run out", got)
		}
		c.end()
	})
}

// Thousands of clients that connect at the same time are all accepted and served. Behind a shut
// gate they get heartbeats, and their responses when it opens.
func TestConnectStorm(t *testing.T) {
	gates(t, func(t *testing.T, engine transport.Mode, shut bool) {
		const notes = 3
		n := scale(500, 2_000, 4_000)
		needFiles(t, 2*n+200)
		r := newRig(t, options{engine: engine, max: n, mute: true, heartbeat: time.Second})
		serve := func(c *reader) error { return c.exchange(notes) }
		if shut {
			r.shutGate()
			serve = func(c *reader) error { return c.held(notes) }
		}
		began := time.Now()
		slots := make([]*reader, n)
		errs := make(chan error, n)
		for i := range n {
			go func() {
				h := r.tcp
				if i%2 == 1 {
					h = r.unix
				}
				c, err := connect(beating(h), uint64(i+1)<<32|0xBEEF, 100)
				if err == nil {
					slots[i] = c
					err = serve(c)
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
		if shut {
			r.openGate()
			r.need(all(slots, func(c *reader) error { return c.freed(notes) }))
		}
		r.readers = append(r.readers, slots...)
		r.drain()
	})
}
