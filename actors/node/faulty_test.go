package node

import (
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/transport"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// faulty is an order book whose methods a test spoils.
type faulty struct {
	*orderbook.Book
	apply, snapshot, restore func()
	refuse                   func() error // of a snapshot
	other                    bool         // it has more outputs
}

// Version hides that of the book: other tests' books without versions recover what this one wrote.
func (*faulty) Version() {}

// factory is a Config.Application whose instances have the hooks of f, as they are when it is called.
func (f *faulty) factory() func() bookApp {
	return func() bookApp {
		app := *f
		app.Book = newBook(orderbook.Config{})
		return &app
	}
}

func (f *faulty) Apply(ev *sequencer.Event,
	out sequencer.Emitter[orderbook.Report, orderbook.Answer]) {
	f.call(f.apply)
	f.Book.Apply(ev, out)
	if f.other {
		out.Report(ev.Conn)
	}
}

func (f *faulty) Snapshot(w io.Writer) error {
	f.call(f.snapshot)
	if f.refuse != nil {
		if err := f.refuse(); err != nil {
			return err
		}
	}
	return f.Book.Snapshot(w)
}

func (f *faulty) Restore(r io.Reader) error {
	f.call(f.restore)
	return f.Book.Restore(r)
}

func (*faulty) call(hook func()) {
	if hook != nil {
		hook()
	}
}

// afterDigest calls f but the first time: the sequencer encodes a report before the pipeline does.
func afterDigest(f func()) func() {
	var calls atomic.Int64
	return func() {
		if calls.Add(1) > 1 {
			f()
		}
	}
}

// faultyEncoder is the encoder of the order book with a hook.
type faultyEncoder struct {
	orderbook.Encoder
	report func()
}

func (e faultyEncoder) AppendReport(dst []byte, r *orderbook.Report) ([]byte, error) {
	e.report()
	return e.Encoder.AppendReport(dst, r)
}

// A panic of the application while it is opened is an error of Open, which releases everything.
func TestPanicInOpenIsAnError(t *testing.T) {
	planted := func() { panic("planted") }
	for name, app := range map[string]*faulty{
		"snapshot": {snapshot: planted}, "restore": {restore: planted}, "apply": {apply: planted},
	} {
		t.Run(name, func(t *testing.T) {
			leaks(t)
			cfg := config(t.TempDir(), transport.ModePoll, &lines{})
			if name != "snapshot" { // which is of a new directory
				s, at := serve(t, cfg)
				c := dial(t, "tcp", at[0])
				c.command(order(1, 1, orderbook.Buy, 100, 1))
				c.expect("accepted 1 seq=1", "end")
				halt(t, s) // without a snapshot, so there is an event to apply
			}
			cfg.Application = app.factory()
			n, err := func() (n *bookNode, err error) {
				defer func() {
					if v := recover(); v != nil {
						t.Errorf("Open panicked: %v", v)
					}
				}()
				return Open(context.Background(), cfg)
			}()
			if n != nil || err == nil || !strings.Contains(err.Error(), "planted") {
				t.Errorf("node %v, error %v", n, err)
			}
			cfg.Application = newPlain
			s, _ := serve(t, cfg) // nothing is locked
			drain(t, s)
		})
	}
}

// An application or an encoder that does not return does not hold an end beyond its time.
func TestEndsAlthoughApplicationHangs(t *testing.T) {
	leaks(t)
	ends := map[string]func(*bookNode, context.Context) error{
		"drain": (*bookNode).Drain, "stop": (*bookNode).Stop, "fence": (*bookNode).Fence,
	}
	for what, spoil := range map[string]func(cfg *bookConfig, app *faulty, hang func()){
		"apply": func(_ *bookConfig, app *faulty, hang func()) { app.apply = hang },
		"snapshot": func(cfg *bookConfig, app *faulty, hang func()) {
			cfg.SnapshotEvents, app.snapshot = 1, hang
		},
		"encoder": func(cfg *bookConfig, _ *faulty, hang func()) {
			cfg.Encoder = faultyEncoder{report: afterDigest(hang)}
		},
		"digest": func(cfg *bookConfig, _ *faulty, hang func()) {
			cfg.Encoder = faultyEncoder{report: hang}
		},
	} {
		for name, end := range ends {
			for _, bounded := range []bool{true, false} {
				if !bounded && name == "drain" {
					continue
				}
				kind := "with a deadline"
				if !bounded {
					kind = "without a deadline"
				}
				t.Run(what+" "+name+" "+kind, func(t *testing.T) {
					t.Parallel() // it only waits
					cfg := config(t.TempDir(), transport.ModePoll, &lines{})
					if cfg.FailTimeout = 500 * time.Millisecond; what == "snapshot" {
						cfg.FailTimeout = patience // nothing may wait for it, and the disk may be slow
					}
					app := &faulty{}
					entered, release := make(chan struct{}, 1), make(chan struct{})
					var opened atomic.Bool
					spoil(&cfg, app, func() {
						if !opened.Load() {
							return // genesis
						}
						select {
						case entered <- struct{}{}:
						default:
						}
						<-release
					})
					cfg.Application = app.factory()
					n, err := Open(context.Background(), cfg)
					if err != nil {
						t.Fatal(err)
					}
					opened.Store(true)
					t.Cleanup(func() { close(release); unlocked(t, cfg.DataDir) })
					dial(t, "tcp", n.Addresses()[0]).command(order(1, 1, orderbook.Buy, 100, 1))
					<-entered
					ctx := context.Background()
					if bounded {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, 500*time.Millisecond)
						defer cancel()
					}
					began, result := time.Now(), make(chan error, 1)
					go func() { result <- end(n, ctx) }()
					select {
					case err = <-result:
					case <-time.After(patience):
						t.Fatal("the end does not return")
					}
					inCopy := what == "snapshot" // on which no end depends
					if took := time.Since(began); (err == nil) != inCopy || took > patience/2 {
						t.Errorf("returned after %v with %v", took, err)
					}
					select {
					case <-n.Ended():
						t.Log(n.Err())
					case <-time.After(patience):
						t.Error("the node does not end")
					}
					if (n.Err() == nil) != inCopy {
						t.Errorf("ended with %v", n.Err())
					}
				})
			}
		}
	}
}

// A reader that waits for a pipeline that hangs does not hold an end beyond its time.
func TestEndsAlthoughReaderHangs(t *testing.T) {
	leaks(t)
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	cfg.FailTimeout = 500 * time.Millisecond
	entered, release := make(chan struct{}, 1), make(chan struct{})
	cfg.Encoder = faultyEncoder{report: afterDigest(func() { entered <- struct{}{}; <-release })}
	cfg.Application = newFull
	n, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(release); unlocked(t, cfg.DataDir) })
	dial(t, "tcp", n.Addresses()[0]).command(order(1, 1, orderbook.Buy, 100, 1))
	<-entered
	c, err := net.Dial("tcp", n.Addresses()[0]) // in Connect until the encoder returns
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Write(wire.AppendHello(nil, &wire.Hello{Version: wire.Version})); err != nil {
		t.Fatal(err)
	}
	until(t, "the permit of the connection", func() bool { return n.Connections() == 2 })
	began := time.Now()
	_ = n.Stop(context.Background()) // its error is about the time
	<-n.Ended()
	if took := time.Since(began); took > listen.DefaultCloseTimeout-time.Second || n.Err() == nil {
		t.Errorf("ended after %v with %v", took, n.Err())
	}
}

// An end whose context has ended already still waits for what returns at once.
func TestEndWithCancelledContext(t *testing.T) {
	for name, end := range map[string]func(*bookNode, context.Context) error{
		"stop": (*bookNode).Stop, "fence": (*bookNode).Fence, "wait": (*bookNode).Wait,
	} {
		t.Run(name, func(t *testing.T) {
			leaks(t)
			cfg := config(t.TempDir(), transport.ModePoll, &lines{})
			for range 10 {
				n, at := serve(t, cfg)
				n.store.grace = patience // the disk may be slow
				dial(t, "tcp", at[0]).command(order(1, 1, orderbook.Buy, 100, 1))
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				if err := end(n, ctx); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// runtime.Goexit, as FailNow of a test calls it, ends the node like a panic of the same place.
func TestGoexitOfTheApplicationEndsTheNode(t *testing.T) {
	leaks(t)
	for name, spoil := range map[string]func(*bookConfig, *faulty){
		"apply":   func(_ *bookConfig, app *faulty) { app.apply = runtime.Goexit },
		"encoder": func(cfg *bookConfig, _ *faulty) { cfg.Encoder = faultyEncoder{report: runtime.Goexit} },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t.TempDir(), transport.ModePoll, &lines{})
			s, _ := serve(t, cfg) // takes the snapshot of a new directory
			drain(t, s)
			app := &faulty{}
			cfg.Application = app.factory()
			spoil(&cfg, app)
			n, err := Open(context.Background(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			dial(t, "tcp", n.Addresses()[0]).command(order(1, 1, orderbook.Buy, 100, 1))
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			select {
			case <-n.Ended():
			case <-ctx.Done():
				t.Fatal("the node goes on")
			}
			if err := n.Err(); err == nil || !strings.Contains(err.Error(), "Goexit") {
				t.Errorf("ended with %v", err)
			}
		})
	}
}
