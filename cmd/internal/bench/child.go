package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/pprof"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sluice/durability"
)

// ChildArgument is the hidden first argument that makes a program call Child.
const ChildArgument = "bench-child"

// progressFD is the descriptor of the shared memory in a child.
const progressFD = 3

// finishTime is the time in which a server must deliver the rest and close.
const finishTime = 5 * time.Second

// Child is the server process. It reads a Spec from in, serves one run with the server of that name
// and writes its measurements to out. It returns when the run is over or the parent has closed in.
// The first extra file of the process must be the parent's shared memory, except in a process that
// measures hiccups.
func Child(in io.Reader, out io.Writer, servers map[string]NewTarget) error {
	l := newLink(in, out)
	var spec Spec
	if err := l.take(&spec); err != nil {
		return err
	}
	if spec.Server == hiccupMeter {
		return serveHiccups(l)
	}
	// A killed parent cannot end its child.
	most := 2*(spec.Warm+spec.Run) + time.Minute + spec.handshakes()
	defer time.AfterFunc(most, func() {
		panic(fmt.Sprintf("bench: the run of %v is not over after %v", spec.Warm+spec.Run, most))
	}).Stop()
	taken, err := openProgress(os.NewFile(progressFD, "progress"))
	if err != nil {
		return err
	}
	defer taken.close()
	if spec.Server == ordersServer {
		return serveOrders(&spec, l)
	}
	_, err = serve(&spec, l, taken, servers)
	if err != nil {
		return l.give(&ChildReport{Error: err.Error()})
	}
	return nil
}

// serve runs the child's side of one run.
func serve(spec *Spec, l *link, taken *progress, servers map[string]NewTarget) (*ChildReport, error) {
	follow, err := newFollower(spec)
	if err != nil {
		return nil, errors.Join(l.give(listening{}), l.give(ready{Error: err.Error()}))
	}
	create := servers[spec.Server]
	if create == nil {
		create = func(*Spec, *durability.Cursors) (Target, error) {
			return nil, fmt.Errorf("bench: this program has no server %q, only %v", spec.Server,
				slices.Sorted(maps.Keys(servers)))
		}
	}
	t, err := create(spec, follow.cursors)
	if err != nil {
		return nil, errors.Join(l.give(listening{}), l.give(ready{Error: err.Error()}))
	}
	c := newClock()
	p := newProducer(spec, c, t, follow, taken)
	if p.guests, err = connectAll(spec, l, t); err != nil {
		return nil, errors.Join(err, abort(t))
	}
	var start begin
	if err := l.take(&start); err != nil {
		return nil, errors.Join(err, abort(t))
	}
	report := &ChildReport{}
	sampled := make(chan error, 1)
	go func() { sampled <- sample(spec, c, start.At, t, p, report) }()
	err = errors.Join(p.run(start.At), <-sampled)
	p.report(report)
	if err != nil {
		return nil, errors.Join(err, abort(t))
	}
	if err := l.give(report); err != nil {
		return nil, errors.Join(err, abort(t))
	}
	// The parent waits for the last frame, then reports that it stops reading.
	var stop begin
	settled := p.linger()
	err = l.take(&stop)
	settled()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, abort(t))
	}
	return report, errors.Join(p.guests.end(), abort(t))
}

// abort ends the server in any state.
func abort(t Target) error {
	ctx, cancel := context.WithTimeout(context.Background(), finishTime)
	defer cancel()
	t.Slots().Close()
	if err := t.Finish(ctx); err != nil {
		return fmt.Errorf("bench: ending the server: %w", err)
	}
	return nil
}

// sample measures at both ends of the measured time.
func sample(spec *Spec, c clock, begin int64, t Target, p *producer, r *ChildReport) error {
	from, to := spec.span(begin)
	c.sleepUntil(from)
	profiled, err := profileCPU(spec.Profile)
	if err != nil {
		return err
	}
	before, err := c.usage()
	counted, inTime, ring, peer := t.Counts(), p.sampled.inTime.Load(), p.sampled.waitRing.Load(), p.sampled.waitPeer.Load()
	if err != nil {
		return err
	}
	c.sleepUntil(to)
	after, err := c.usage()
	r.Counts = t.Counts().minus(counted)
	r.Usage = after.minus(before)
	r.InTime, r.WaitRing, r.WaitPeer = p.sampled.inTime.Load()-inTime, p.sampled.waitRing.Load()-ring, p.sampled.waitPeer.Load()-peer
	return errors.Join(err, profiled())
}

// profileCPU starts a CPU profile into the file; stop ends it. Without a name it does nothing.
func profileCPU(name string) (stop func() error, err error) {
	if name == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("bench: CPU profile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(fmt.Errorf("bench: CPU profile: %w", err), file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}

// connectAll listens, accepts every client and passes it to the server. The listener stays open
// only for transient clients.
func connectAll(spec *Spec, l *link, t Target) (*guests, error) {
	fd, address, err := listen(spec)
	if err != nil {
		return nil, errors.Join(l.give(listening{}), l.give(ready{Error: err.Error()}))
	}
	if err := l.give(listening{Address: address}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	config, err := spec.serverTLS()
	for i := 0; i < spec.Connections && err == nil; i++ {
		err = accept(spec, fd, t, config)
	}
	var g *guests
	if err != nil {
		unix.Close(fd)
	} else {
		g, err = admit(spec, fd, t)
	}
	answer := ready{Engine: t.Engine()}
	if err != nil {
		answer.Error = err.Error()
	}
	return g, l.give(answer)
}

// accept accepts one client.
func accept(spec *Spec, listener int, t Target, config *tls.Config) error {
	fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	h, err := greet(spec, fd)
	if err == nil && config != nil {
		if s, ok := t.(secured); ok {
			return s.Secure(uint64(h.index)+1, fd, config)
		}
		err = fmt.Errorf("bench: server %s has no TLS", spec.Server)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err == nil && h.stalled {
		err = fill(fd)
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	return t.Connect(uint64(h.index)+1, fd)
}

// greet reads the client's hello and configures the socket.
func greet(spec *Spec, fd int) (h hello, err error) {
	var b [helloSize]byte
	for n := 0; n < len(b); {
		k, err := unix.Read(fd, b[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || k == 0 {
			return h, fmt.Errorf("reading a client's hello: got %d bytes, %w", n,
				errors.Join(err, io.ErrUnexpectedEOF))
		}
		n += k
	}
	h = parseHello(b[:])
	if spec.overTCP() {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil && h.stalled {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4608) // the minimum, socket(7)
	}
	return h, err
}

// fill fills the send buffer of a client that never reads, so that its socket refuses every frame.
func fill(fd int) error {
	var b [4096]byte
	for {
		switch _, err := unix.Write(fd, b[:]); err {
		case nil, unix.EINTR:
		case unix.EAGAIN:
			return nil
		default:
			return fmt.Errorf("filling a stalled client's socket: %w", err)
		}
	}
}
