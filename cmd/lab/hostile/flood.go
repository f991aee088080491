package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/transport/client"
	"sluice/transport/wire"
)

// order of a flood, as its process reads it.
type floodOrder struct {
	Address string
	Key     ed25519.PrivateKey // of the requests
	Churn   ed25519.PrivateKey // of the connections that only come and go
	Rate    int                // requests a second, of all attacks together
	Only    string             // part of the names of the attacks to make; empty: all, and the connections
	Refused bool               // go on until the flood was refused in each way, on a slow machine too
}

// floodCounts is what a flood did.
type floodCounts struct {
	Sent        uint64 // requests
	Rejected    uint64 // by the book
	Refused     uint64 // EngineError
	Busy        uint64 // ServerBusy
	Served      uint64 // requests with another response
	Connections uint64 // that were admitted
	Turned      uint64 // connections that were not
	Closed      uint64 // connections that the server ended
}

const (
	floodTick = 10 * time.Millisecond // between two parts of a flood
	retry     = 20 * time.Millisecond // after a connection that failed
	halfOpen  = 100                   // handshakes that are begun and never end
)

// flood is the process that floods, until its standard input ends.
type flood struct {
	order  floodOrder
	ctx    context.Context
	counts [8]atomic.Uint64 // in the order of floodCounts
}

// floodChild reads an order, floods until the input ends, and prints the counts.
func floodChild(in io.Reader, out io.Writer) error {
	from := json.NewDecoder(in)
	f := &flood{}
	if err := from.Decode(&f.order); err != nil {
		return fmt.Errorf("flood: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.ctx = ctx
	var all sync.WaitGroup
	conns := 0
	chosen := slices.DeleteFunc(attacks(), func(a attack) bool { return !strings.Contains(a.name, f.order.Only) })
	for _, a := range chosen {
		conns += a.conns
	}
	for _, a := range chosen {
		var n atomic.Uint64
		for range a.conns {
			all.Go(func() { f.attack(a, &n, max(1, f.order.Rate/conns)) })
		}
	}
	if f.order.Only == "" || strings.Contains("connections", f.order.Only) {
		all.Go(f.churn)
		all.Go(f.holdOpen)
	}
	_, err := io.Copy(io.Discard, in)
	for end := time.Now().Add(patience); f.order.Refused && !f.refused() && time.Now().Before(end); {
		f.wait(retry)
	}
	cancel()
	all.Wait()
	c := floodCounts{Sent: f.counts[0].Load(), Rejected: f.counts[1].Load(), Refused: f.counts[2].Load(),
		Busy: f.counts[3].Load(), Served: f.counts[4].Load(), Connections: f.counts[5].Load(),
		Turned: f.counts[6].Load(), Closed: f.counts[7].Load()}
	return errors.Join(err, json.NewEncoder(out).Encode(c))
}

// refused reports whether the flood was served, and refused in each way that it counts.
func (f *flood) refused() bool {
	for i := range f.counts {
		if f.counts[i].Load() == 0 {
			return false
		}
	}
	return true
}

// connect opens a connection; nil if that failed.
func (f *flood) connect(key ed25519.PrivateKey) *client.Conn {
	ctx, cancel := context.WithTimeout(f.ctx, 5*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, "tcp", f.order.Address, client.Options{Key: key})
	if err != nil {
		if f.ctx.Err() == nil {
			f.counts[6].Add(1)
		}
		return nil
	}
	f.counts[5].Add(1)
	return c
}

// attack floods with the requests of an attack, on one connection at a time.
func (f *flood) attack(a attack, n *atomic.Uint64, rate int) {
	for f.ctx.Err() == nil {
		c := f.connect(f.order.Key)
		if c == nil {
			f.wait(retry)
			continue
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.receive(c)
		}()
		f.send(c, a, n, rate, done)
		c.Close()
		<-done
	}
}

// send sends requests at a rate until the connection or the flood ends.
func (f *flood) send(c *client.Conn, a attack, n *atomic.Uint64, rate int, gone <-chan struct{}) {
	every := time.NewTicker(floodTick)
	defer every.Stop()
	stop := context.AfterFunc(f.ctx, func() { _ = c.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	for owed := 0.0; ; {
		select {
		case <-f.ctx.Done():
			return
		case <-gone:
			return
		case <-every.C:
		}
		for owed += float64(rate) * floodTick.Seconds(); owed >= 1; owed-- {
			seq := n.Add(1)
			tag, body := a.next(seq)
			if tag == wire.TagHeartbeat {
				seq = 0
			}
			if c.Send(seq, tag, body) != nil {
				return
			}
			f.counts[0].Add(1)
		}
		if c.Flush() != nil {
			return
		}
	}
}

// receive counts the responses of a connection until it ends.
func (f *flood) receive(c *client.Conn) {
	rejected := false
	for {
		tag, body, err := c.Next()
		var closed *client.CloseError
		switch {
		case errors.As(err, &closed):
			f.counts[7].Add(1)
			return
		case err != nil:
			return
		case tag == wire.TagServerBusy:
			f.counts[3].Add(1)
		case tag == wire.TagEngineError:
			f.counts[2].Add(1)
		case tag == wire.TagBatchEnd:
			if !rejected {
				f.counts[4].Add(1)
			}
			rejected = false
		case isRejected(tag, body):
			f.counts[1].Add(1)
			rejected = true
		}
	}
}

// churn connects and leaves, over and over.
func (f *flood) churn() {
	for f.ctx.Err() == nil {
		if c := f.connect(f.order.Churn); c != nil {
			c.Close()
		}
	}
}

// holdOpen keeps handshakes under way that it does not go on with.
func (f *flood) holdOpen() {
	open := make([]net.Conn, halfOpen)
	for i := 0; f.ctx.Err() == nil; i = (i + 1) % halfOpen {
		if open[i] != nil {
			open[i].Close()
		}
		open[i], _ = net.DialTimeout("tcp", f.order.Address, time.Second) // nil: no place
		f.wait(retry)
	}
	for _, c := range open {
		if c != nil {
			c.Close()
		}
	}
}

func (f *flood) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-f.ctx.Done():
	}
}
