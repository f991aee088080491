package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"sluice/actors"
	"sluice/actors/node"
	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability/journal"
	"sluice/transport"
	"sluice/transport/client"
	endpoints "sluice/transport/listen"
	"sluice/transport/wire"
)

// Names of the two measurements of --durable. Both do one thing at a time without a schedule.
// Latency starts when the order is sent or the record written.
//
//	orders:    client -- order --> listener, sequencer, journal, fdatasync, cursor, gate, encode, shard --> client
//	fdatasync: pwrite of one record into a file of full length, fdatasync
const (
	ordersServer = "orders"
	syncServer   = "fdatasync"
)

// recordSize is the approximate size of an order in the log, and the size of the record before each
// fdatasync.
const recordSize = 128

// durableSpecs returns the specs of --durable.
func durableSpecs(specs []Spec, p *Plan) []Spec {
	specs[0].Connections, specs[0].Frame, specs[0].Policy = 1, recordSize, "local"
	base := specs[0]
	specs = cross(specs, p.Net, func(s *Spec, v string) { s.Net = v })
	specs = cross(specs, p.IO,
		func(s *Spec, v string) { s.Server, s.IO, s.Shards = ordersServer, v, 1 })
	base.Server, base.Net = syncServer, "file"
	return append(specs, base)
}

// measureOrders is one run of "orders" against a server process with a journal of its own.
func (r *Runner) measureOrders(ctx context.Context, spec Spec) (res *Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, spec.Warm+spec.Run+30*time.Second)
	defer cancel()
	if spec.Dir, err = os.MkdirTemp(spec.Dir, ".sluice-bench-"); err != nil {
		return nil, fmt.Errorf("bench: directory for a journal: %w; name one with --dir", err)
	}
	defer os.RemoveAll(spec.Dir)
	l, _, end, err := r.launch(ctx, &spec)
	if err != nil {
		return nil, err
	}
	answered, err := uint64(0), l.give(&spec)
	if err == nil {
		res, answered, err = r.loadOrders(ctx, &spec, l)
	}
	if err = errors.Join(err, end(err != nil)); err != nil {
		return nil, err
	}
	log, err := journal.Inspect(filepath.Join(spec.Dir, "data", "journal"))
	if err != nil {
		return nil, fmt.Errorf("bench: the journal of a run: %w", err)
	}
	if uint64(log.Last) < answered {
		res.Faults.Early += answered - uint64(log.Last)
		res.First = fmt.Sprintf("%d orders were answered, but the journal has %d", answered, log.Last)
	}
	return res, nil
}

// loadOrders runs the client.
func (r *Runner) loadOrders(ctx context.Context, spec *Spec, l *link) (*Result, uint64, error) {
	address, child := listening{}, ChildReport{}
	if err := l.take(&address); err != nil {
		return nil, 0, err
	}
	var answer ready
	if err := l.take(&answer); err != nil || answer.Error != "" {
		return nil, 0, errors.Join(err, fmt.Errorf("bench: server: %s", answer.Error))
	}
	conn, err := client.Dial(ctx, spec.Net, address.Address, client.Options{Congestion: tcpOnly(spec)})
	if err != nil {
		return nil, 0, fmt.Errorf("bench: %w", err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetReadDeadline(deadline); err != nil {
		return nil, 0, fmt.Errorf("bench: %w", err)
	}
	o := orders{conn: conn, account: 1}
	res, err := oneByOne(ctx, spec, func(at int64) error { return l.give(begin{at}) }, o.next)
	if err != nil {
		return nil, 0, err
	}
	if err := l.take(&child); err != nil || child.Error != "" {
		return nil, 0, errors.Join(err, fmt.Errorf("bench: server: %s", child.Error))
	}
	res.Engine, res.Server, res.Idle = answer.Engine, child.Usage, child.Idle
	return res, o.last, nil
}

func tcpOnly(spec *Spec) string {
	if spec.Net != "tcp" {
		return ""
	}
	return spec.Congestion
}

// orders sends commands, orders and their cancellations in turn, so that the book does not grow.
type orders struct {
	conn    *client.Conn
	account uint64
	last    uint64
	frame   []byte
}

// orderOrCancel is the command with an id, without account.
func orderOrCancel(id uint64) orderbook.Command {
	if id%2 == 0 {
		return orderbook.Command{Tag: orderbook.TagCancel, ClientOrderID: id, Target: id - 1}
	}
	return orderbook.Command{Tag: orderbook.TagNew, ClientOrderID: id, Instrument: 1, Side: orderbook.Buy,
		Type: orderbook.Limit, TimeInForce: orderbook.GoodTillCancel, Price: 100, Quantity: 1}
}

// next sends one command and waits for the end of its response.
func (o *orders) next() error { return o.send(1) }

// send sends commands in one write, and waits for the end of all responses.
func (o *orders) send(n int) (err error) {
	first := o.last + 1
	for range n {
		o.last++
		c := orderOrCancel(o.last)
		c.Account = o.account
		if o.frame, err = orderbook.AppendRequest(o.frame[:0], o.last, &c); err != nil {
			return err
		}
		const header = 4 + 8 + 1
		if err := o.conn.Send(o.last, c.Tag, o.frame[header:]); err != nil {
			return fmt.Errorf("bench: order %d: %w", o.last, err)
		}
	}
	if err := o.conn.Flush(); err != nil {
		return fmt.Errorf("bench: order %d: %w", o.last, err)
	}
	for id := first; id <= o.last; id++ {
		if err := o.response(id); err != nil {
			return err
		}
	}
	return nil
}

// response reads the response to a command.
func (o *orders) response(id uint64) error {
	want := orderbook.TagAccepted
	if id%2 == 0 {
		want = orderbook.TagCancelled
	}
	for right := false; ; {
		tag, _, err := o.conn.Next()
		switch {
		case err != nil:
			return fmt.Errorf("bench: response %d: %w", id, err)
		case tag == want:
			right = true
		case tag == wire.TagBatchEnd && right:
			return nil
		default:
			return fmt.Errorf("bench: response %d has a frame 0x%02x, expected 0x%02x", id, tag, want)
		}
	}
}

// measureSync is one run of "fdatasync", in this process.
func (r *Runner) measureSync(ctx context.Context, spec Spec) (*Result, error) {
	file, err := os.CreateTemp(spec.Dir, ".sluice-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: file to sync: %w; name another directory with --dir", err)
	}
	defer os.Remove(file.Name())
	defer file.Close()
	fd := int(file.Fd())
	if err := unix.Fallocate(fd, 0, 0, journal.DefaultSegmentBytes); err != nil {
		return nil, fmt.Errorf("bench: fallocate: %w", err)
	}
	if err := unix.Fsync(fd); err != nil {
		return nil, fmt.Errorf("bench: fsync: %w", err)
	}
	record, at := make([]byte, recordSize), int64(0)
	res, err := oneByOne(ctx, &spec, func(int64) error { return nil }, func() error {
		if _, err := unix.Pwrite(fd, record, at); err != nil {
			return fmt.Errorf("bench: pwrite: %w", err)
		}
		at = (at + recordSize) % journal.DefaultSegmentBytes
		if err := unix.Fdatasync(fd); err != nil {
			return fmt.Errorf("bench: fdatasync: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	res.Engine, res.Server = syncServer, res.Clients
	return res, nil
}

// oneByOne calls once repeatedly for the time of the spec and measures after the warm-up.
func oneByOne(ctx context.Context, spec *Spec, begun func(at int64) error,
	once func() error) (*Result, error) {
	c := newClock()
	res := &Result{Spec: *spec}
	hist := hdrhistogram.New(1, latencyMost, 3)
	at := c.now()
	if err := begun(at); err != nil {
		return nil, err
	}
	from, to := spec.span(at)
	var before Usage
	busy, stolen, warm := int64(0), int64(0), true
	for now := at; now < to || hist.TotalCount() == 0; { // a disk may take longer than the whole time
		if warm && now >= from {
			var err error
			if before, err = c.usage(); err != nil {
				return nil, err
			}
			busy, stolen = machineTime()
			warm, now = false, c.now()
		}
		if err := errors.Join(ctx.Err(), once()); err != nil {
			return nil, err
		}
		after := c.now()
		if !warm {
			_ = hist.RecordValue(min(max(after-now, 1), latencyMost)) // within the bounds
		}
		now = after
	}
	after, err := c.usage()
	if err != nil {
		return nil, err
	}
	busyAfter, stolenAfter := machineTime()
	res.Clients = after.minus(before)
	span := float64(res.Clients.At)
	res.Others = max(float64(busyAfter-busy-res.Clients.cpu())/span, 0)
	res.Stolen = float64(stolenAfter-stolen) / span
	res.record(hist)
	res.Frames = float64(hist.TotalCount()) / spec.Run.Seconds()
	res.Sent = uint64(hist.TotalCount())
	return res, nil
}

// serveOrders is the child's side: the whole server, with a journal in spec.Dir.
func serveOrders(spec *Spec, l *link) error {
	mode, err := transport.ParseMode(spec.IO)
	endpoint := endpoints.Endpoint{Network: spec.Net, Address: spec.Socket, Open: true}
	if spec.Net == "tcp" {
		endpoint.Address = "127.0.0.1:0"
	}
	var s node.Running
	addresses := []string{""}
	var books func() sequencer.Application[orderbook.Report, orderbook.Answer]
	if err == nil {
		books, err = orderbook.Factory(orderbook.Config{})
	}
	if err == nil {
		s, err = node.Open(context.Background(), node.Config[orderbook.Report, orderbook.Answer]{
			Application: books, Encoder: orderbook.Encoder{},
			DataDir:  filepath.Join(spec.Dir, "data"),
			Listen:   endpoints.Config{Endpoints: []endpoints.Endpoint{endpoint}},
			Pipeline: actors.Config{IO: mode, Shards: spec.Shards},
			Log: slog.New(slog.NewTextHandler(os.Stderr,
				&slog.HandlerOptions{Level: slog.LevelError})),
		})
	}
	if err == nil {
		addresses = s.Addresses()
	}
	answer := ready{Engine: spec.IO}
	if err != nil {
		answer.Error, addresses = err.Error(), []string{""}
	}
	if err := errors.Join(l.give(listening{addresses[0]}), l.give(answer)); err != nil ||
		answer.Error != "" {
		return err
	}
	err = sampleOrders(spec, l)
	ctx, cancel := context.WithTimeout(context.Background(), finishTime)
	defer cancel()
	return errors.Join(err, s.Stop(ctx))
}

// sampleOrders measures this process during the run, and waits until the client has gone.
func sampleOrders(spec *Spec, l *link) error {
	c, report := newClock(), ChildReport{Idle: resident()}
	var start begin
	if err := l.take(&start); err != nil {
		return err
	}
	from, to := spec.span(start.At)
	c.sleepUntil(from)
	before, err := c.usage()
	if err != nil {
		return err
	}
	c.sleepUntil(to)
	after, err := c.usage()
	if err != nil {
		return err
	}
	report.Usage = after.minus(before)
	if err := l.give(&report); err != nil {
		return err
	}
	var stop begin
	_ = l.take(&stop) // an error means that the parent has closed its end, which ends the run
	return nil
}
