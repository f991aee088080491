package transport

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"reflect"
	"syscall"
	"testing"
)

// simOwner is a small correct owner of a ring. It keeps one send or poll in flight for each
// connection, and keeps buffers until their completion.
type simOwner struct {
	t     testing.TB
	ring  *SimRing
	net   *SimNet
	conns []*simConn
	trace []byte // everything observed, to compare runs
}

// simConn is one connection, its client, and what the client must read.
type simConn struct {
	fd     int32
	peer   *SimPeer
	buffer []byte // of the send in flight; overwritten once its completion is reaped
	sent   int    // bytes accepted according to completions
	got    int    // bytes read by the client
	gen    uint64
	busy   bool // a send or poll is in flight or queued
	dead   bool // closed
}

const simStream = 3000 // bytes sent to each connection

func (o *simOwner) open() *simConn {
	c := &simConn{}
	c.fd, c.peer = o.net.Open(64)
	return c
}

func (o *simOwner) user(i int) uint64 { return o.conns[i].gen<<32 | uint64(i) }

// step queues a send or poll for every connection that is ready, submits, reaps, and replaces dead
// connections.
func (o *simOwner) step() {
	for i, c := range o.conns {
		if c.busy || c.dead || c.sent == simStream {
			continue
		}
		c.buffer = pattern(c.sent, min(100, simStream-c.sent))
		c.busy = o.ring.Send(c.fd, c.buffer, o.user(i))
	}
	if err := o.ring.Submit(); err != nil {
		o.t.Fatal(err)
	}
	var done [3]Completion
	for n := o.ring.Reap(done[:]); n > 0; n = o.ring.Reap(done[:]) {
		for _, done := range done[:n] {
			o.take(done)
		}
	}
}

func (o *simOwner) take(done Completion) {
	i := int(uint32(done.User) &^ pollBit)
	c := o.conns[i]
	o.trace = fmt.Appendf(o.trace, "%x:%d ", done.User, done.Res)
	if c.gen != done.User>>32 || !c.busy {
		o.t.Fatalf("completion %+v for a connection without a pending request (generation %d, "+
			"busy %t)", done, c.gen, c.busy)
	}
	c.busy = false
	if done.User&pollBit == 0 {
		for i := range c.buffer {
			c.buffer[i] = 0xEE
		}
	}
	switch {
	case c.dead:
		o.replace(i)
	case done.User&pollBit != 0:
	case done.Res > 0:
		c.sent += int(done.Res)
	case done.Res == -int32(syscall.EAGAIN):
		c.busy = o.ring.Poll(c.fd, done.User|pollBit)
	case done.Res == -int32(syscall.ECONNRESET), done.Res == -int32(syscall.EPIPE):
		if err := o.ring.CloseSocket(c.fd); err != nil {
			o.t.Fatal(err)
		}
		o.replace(i)
	}
}

const pollBit = 1 << 31

// replace replaces a dead connection by a new one.
func (o *simOwner) replace(i int) {
	gen := o.conns[i].gen
	o.conns[i] = o.open()
	o.conns[i].gen = gen + 1
}

// read reads some bytes at the client of a connection and compares them.
func (o *simOwner) read(i, limit int) {
	c := o.conns[i]
	got := c.peer.Read(limit)
	if !bytes.Equal(got, pattern(c.got, len(got))) {
		o.t.Fatalf("connection %d: the stream differs within bytes %d..%d: % x", i, c.got,
			c.got+len(got), got)
	}
	c.got += len(got)
}

// simRun drives a SimNet for a while with faults, then without faults until everything is
// delivered.
func simRun(t testing.TB, seed uint64, faults Faults) (FaultCounts, uint64) {
	net := NewSimNet()
	rng := rand.New(rand.NewPCG(seed, 2))
	ring := NewSimRing(net, SimConfig{
		Entries: 1 + rng.IntN(8), Completions: 1 + rng.IntN(4), Seed: seed, Faults: faults, Wake: func() {},
	})
	o := &simOwner{t: t, ring: ring, net: net}
	for range 6 {
		o.conns = append(o.conns, o.open())
	}
	for range 3000 {
		o.step()
		ring.Tick()
		i := rng.IntN(len(o.conns))
		switch c := o.conns[i]; rng.IntN(400) {
		case 0:
			if !c.dead && c.busy { // the owner drops a client: no byte of it may reach the next one
				c.dead = true
				if err := ring.CloseSocket(c.fd); err != nil {
					t.Fatal(err)
				}
			}
		case 1:
			c.peer.Reset()
		default:
			o.read(i, rng.IntN(50))
		}
	}
	counts := ring.FaultCounts()
	ring.SetFaults(Faults{})
	for i, c := range o.conns { // stuck requests end with their socket
		if c.busy && !c.dead {
			c.dead = true
			if err := ring.CloseSocket(c.fd); err != nil {
				t.Fatal(err)
			}
		}
		_ = i
	}
	for range 2000 {
		o.step()
		ring.Tick()
		for i := range o.conns {
			o.read(i, 1000)
		}
	}
	for i, c := range o.conns {
		if c.got != simStream || c.dead {
			t.Fatalf("connection %d: the client has %d of %d bytes after the faults ended (dead "+
				"%t, busy %t)", i, c.got, simStream, c.dead, c.busy)
		}
	}
	if ring.InFlight() != 0 || net.Live() != len(o.conns) {
		t.Fatalf("%d requests in flight, %d sockets; want 0 and %d", ring.InFlight(), net.Live(),
			len(o.conns))
	}
	h := fnv.New64a()
	h.Write(o.trace)
	return counts, h.Sum64()
}

// swarm draws a different set of faults for each seed.
func swarm(seed uint64) Faults {
	rng := rand.New(rand.NewPCG(seed, 3))
	var f Faults
	fields := reflect.ValueOf(&f).Elem()
	for i := range fields.NumField() {
		if fields.Field(i).Kind() == reflect.Float64 && rng.IntN(2) == 0 {
			fields.Field(i).SetFloat(0.1 * rng.Float64())
		}
	}
	f.Doubt = 0 // ends a run; has a test of its own
	f.LateTicks = 1 + rng.IntN(30)
	return f
}

// TestSimRingSeeds runs many seeds. A correct owner passes every one, and every fault happens.
func TestSimRingSeeds(t *testing.T) {
	var total FaultCounts
	for seed := range uint64(60) {
		counts, trace := simRun(t, seed, swarm(seed))
		if seed < 3 {
			if _, again := simRun(t, seed, swarm(seed)); again != trace {
				t.Fatalf("seed %d: two runs differ", seed)
			}
		}
		sum, add := reflect.ValueOf(&total).Elem(), reflect.ValueOf(counts)
		for i := range sum.NumField() {
			sum.Field(i).SetUint(sum.Field(i).Uint() + add.Field(i).Uint())
		}
	}
	sum := reflect.ValueOf(total)
	for i := range sum.NumField() {
		if name := sum.Type().Field(i).Name; sum.Field(i).Uint() == 0 && name != "Doubt" {
			t.Errorf("fault %s did not happen", name)
		}
	}
	t.Logf("%+v", total)
}

func TestSimRingWithoutFaultsCountsNone(t *testing.T) {
	counts, _ := simRun(t, 7, Faults{})
	counts.QueueFilled, counts.QueueFull, counts.Overflow = 0, 0, 0
	if counts != (FaultCounts{}) {
		t.Fatalf("faults that were not requested: %+v", counts)
	}
}

func TestSimRingReturnsErrRingInDoubt(t *testing.T) {
	net := NewSimNet()
	ring := NewSimRing(net, SimConfig{Entries: 4, Completions: 4, Seed: 1, Faults: Faults{Doubt: 1},
		Wake: func() {}})
	fd, _ := net.Open(10)
	ring.Send(fd, []byte("x"), 1)
	for range 2 {
		if err := ring.Submit(); !errors.Is(err, ErrRingInDoubt) {
			t.Fatalf("Submit: %v; want ErrRingInDoubt", err)
		}
	}
}

// A ring in doubt has something queued even if it took all requests, so that its owner submits and learns of it.
func TestSimRingInDoubtHasSomethingQueued(t *testing.T) {
	for seed := range uint64(20) {
		wakes := 0
		net := NewSimNet()
		ring := NewSimRing(net, SimConfig{Entries: 4, Completions: 4, Seed: seed, Faults: Faults{Doubt: 1},
			Wake: func() { wakes++ }})
		fd, _ := net.Open(10)
		ring.Send(fd, []byte("x"), 1)
		if err := ring.Submit(); !errors.Is(err, ErrRingInDoubt) {
			t.Fatalf("Submit: %v; want ErrRingInDoubt", err)
		}
		ring.Reap(make([]Completion, 4))
		if ring.Park(); ring.Queued() == 0 || wakes == 0 {
			t.Fatalf("seed %d: in doubt, %d queued and %d wake-ups by Park", seed, ring.Queued(), wakes)
		}
		ring.Close()
		if ring.Queued() != 0 {
			t.Fatalf("seed %d: %d queued after Close", seed, ring.Queued())
		}
	}
}

// TestSimRingReadsBuffersWhenASendRuns checks that a buffer changed before its completion reaches
// the client changed.
func TestSimRingReadsBuffersWhenASendRuns(t *testing.T) {
	net := NewSimNet()
	ring := NewSimRing(net, SimConfig{Entries: 4, Completions: 4, Seed: 1,
		Faults: Faults{LateSend: 1, LateTicks: 1}, Wake: func() {}})
	fd, peer := net.Open(10)
	b := []byte("good")
	ring.Send(fd, b, 1)
	if err := ring.Submit(); err != nil {
		t.Fatal(err)
	}
	copy(b, "evil")
	ring.Tick()
	if got := string(peer.Read(10)); got != "evil" {
		t.Fatalf("the client read %q; want the bytes as they were at completion", got)
	}
}

func TestSimNetSockets(t *testing.T) {
	net := NewSimNet()
	ring := NewSimRing(net, SimConfig{Entries: 4, Completions: 4, Wake: func() {}})
	one, _ := net.Open(4)
	two, _ := net.Open(4)
	if one != simFirstFD || two != simFirstFD+1 || net.Live() != 2 {
		t.Fatalf("descriptors %d and %d, %d live; want %d, the next and 2", one, two, net.Live(), simFirstFD)
	}
	if err := ring.CloseSocket(one); err != nil {
		t.Fatal(err)
	}
	if err := ring.CloseSocket(one); !errors.Is(err, syscall.EBADF) {
		t.Fatalf("second close: %v; want EBADF", err)
	}
	again, peer := net.Open(4)
	if again != one {
		t.Fatalf("descriptor %d; want %d, the lowest free one", again, one)
	}
	send := func(text string) int32 {
		t.Helper()
		ring.Send(again, []byte(text), 1)
		var done [1]Completion
		if err := ring.Submit(); err != nil || ring.Reap(done[:]) != 1 {
			t.Fatal("no completion", err)
		}
		return done[0].Res
	}
	if got := send("abcdef"); got != 4 {
		t.Fatalf("send into a window of 4: %d", got)
	}
	if got := string(peer.Read(3)); got != "abc" || peer.Waiting() != 1 || peer.Taken() != 3 {
		t.Fatalf("read %q, %d waiting, %d taken", got, peer.Waiting(), peer.Taken())
	}
	peer.HalfClose()
	if got := send("x"); got != 1 || !peer.HalfClosed() {
		t.Fatalf("send to a half-closed client: %d", got)
	}
	peer.Reset()
	if first, then := send("x"), send("x"); first != -int32(syscall.ECONNRESET) ||
		then != -int32(syscall.EPIPE) {
		t.Fatalf("sends after a reset: %d, %d; want ECONNRESET, EPIPE", first, then)
	}
}

// pattern returns n bytes of the endless byte stream of the tests, from an offset.
func pattern(at, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte((at + i) * 7 >> 3)
	}
	return b
}
