package observe

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/actors/node/observe/status"
	"sluice/telemetry/otel"
)

// A program learns that an endpoint is taken before it opens its node.
func TestListenReportsTakenEndpoints(t *testing.T) {
	dir := t.TempDir()
	first, err := Listen(Config{Admin: "127.0.0.1:0", Socket: filepath.Join(dir, "a")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(Config{Admin: first.Address()}); err == nil ||
		!strings.Contains(err.Error(), first.Address()) {
		t.Errorf("a taken address: %v", err)
	}
	// The TCP endpoint is bound first, and released when the socket turns out to be taken.
	free, err := Listen(Config{Admin: "127.0.0.2:0"}) // where no other test gets the same port meanwhile
	if err != nil {
		t.Fatal(err)
	}
	address := free.Address()
	free.Close()
	if _, err := Listen(Config{Admin: address, Socket: filepath.Join(dir, "a")}); err == nil ||
		!strings.Contains(err.Error(), "a process answers") {
		t.Errorf("a taken socket: %v", err)
	}
	isFree(t, address)
	first.Close()
	isFree(t, first.Address())
	if _, err := os.Stat(filepath.Join(dir, "a")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

func isFree(t *testing.T, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Errorf("still open: %v", err)
		return
	}
	l.Close()
}

// Whatever fails, neither endpoints nor the flight recorder stay open, and the node takes no
// commands.
func TestFailedOpenLeavesNothingOpen(t *testing.T) {
	r := newRig(t)
	if err := r.o.Close(soon(t)); err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	for _, v := range []struct {
		name, want string
		change     func(c *Config)
	}{
		{"unknown exporter", "metrics exporter",
			func(c *Config) { c.Export = otel.Config{Metrics: []string{"statsd"}} }},
		{"pattern with a method", "without a method",
			func(c *Config) { c.Handlers = map[string]http.Handler{"GET /x": http.NotFoundHandler()} }},
		{"pattern that clashes", "handler for",
			func(c *Config) { c.Handlers = map[string]http.Handler{"/": http.NotFoundHandler()} }},
	} {
		for range 2 { // the second time, everything is free again
			socket := filepath.Join(t.TempDir(), "a")
			c := Config{Admin: "127.0.0.2:0", Socket: socket, Flight: Flight{Dir: t.TempDir()},
				Log: quiet}
			v.change(&c)
			l, err := Listen(c)
			if err != nil {
				t.Fatal(err)
			}
			if o, err := l.Open(r.server); o != nil || err == nil ||
				!strings.Contains(err.Error(), v.want) {
				t.Fatalf("%s: %v, %v, want %q", v.name, o, err, v.want)
			}
			isFree(t, l.Address())
			if _, err := os.Stat(socket); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: the socket is left: %v", v.name, err)
			}
		}
	}
	c := &Client{Addr: r.tcp, Key: r.operator}
	if _, err := c.Swap(soon(t), "in_memory>=1", false); err == nil {
		t.Error("a command was accepted")
	}
	o, err := Open(r.server, Config{Admin: "127.0.0.1:0", Socket: r.socket,
		Flight: Flight{Dir: t.TempDir()}, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	r.o = o // closed by the rig
}

// serve runs Serve; the result waits for its end.
func serve(ctx context.Context, r *rig, c Config) (wait func(t *testing.T) error) {
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, r.server, c) }()
	return func(t *testing.T) error {
		t.Helper()
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			t.Fatal("Serve does not end")
			return nil
		}
	}
}

// A context that ends both: the endpoints are there during the drain, and the last export has the
// whole run.
func TestServeEndsWithTheNode(t *testing.T) {
	disk, held := make(chan struct{}), make(chan struct{}, 64)
	mend := sync.OnceFunc(func() { close(disk) })
	defer mend()
	r := newRig(t, func(sc *bookConfig, _ *Config) {
		sc.Journal.BeforeSync = func() { held <- struct{}{}; <-disk }
	})
	if err := r.o.Close(soon(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := new(spans)
	wait := serve(ctx, r, Config{
		Socket: r.socket, Log: slog.New(slog.DiscardHandler),
		Export: otel.Config{Metrics: []string{otel.ExporterConsole}, Console: out,
			ExportEvery: time.Hour},
	})
	state := func() string {
		var s Status
		if err := (&Client{Socket: r.socket}).Get(soon(t), "/", &s); err != nil {
			return err.Error()
		}
		return s.State
	}
	until(t, "the admin socket", func() bool { return state() == status.StateReady })
	c := r.dial("unix", r.unix, nil)
	c.order()
	<-held
	drained := make(chan error, 1)
	go func() { drained <- r.server.Wait(ctx) }()
	cancel()
	until(t, "the drain", func() bool { return !r.server.Ready() })
	<-time.After(200 * time.Millisecond) // time in which Serve must not close
	if got := state(); got != status.StateEnding {
		t.Errorf("during the drain: %s", got)
	}
	mend()
	c.expect("accepted", "end")
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if err := wait(t); err != nil {
		t.Error(err)
	}
	out.mu.Lock()
	defer out.mu.Unlock()
	if text := out.text.String(); !strings.Contains(text, `"Name":"sluice.response.sent"`) {
		t.Errorf("the last export: %s", text)
	}
	if _, err := os.Stat(r.socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	o, err := Open(r.server, Config{}) // closed by the rig
	if err != nil {
		t.Fatal(err)
	}
	r.o = o
}

// A context that ends the observation only: the node serves on.
func TestServeEndsWithItsContext(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	wait := serve(ctx, r, Config{Admin: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	cancel()
	if err := wait(t); err != nil {
		t.Error(err)
	}
	if r.dial("unix", r.unix, nil).served(); !r.server.Ready() {
		t.Error("the node has ended")
	}
}

// The client port takes commands of operators, including when there is no other endpoint.
func TestOperatorsWithoutEndpoints(t *testing.T) {
	r := newRig(t, func(_ *bookConfig, c *Config) { c.Admin, c.Socket = "", "" })
	_, err := (&Client{Addr: r.tcp, Key: r.operator}).Swap(soon(t), "in_memory>=1", false)
	if err != nil || policyOf(r) != "in_memory>=1" {
		t.Errorf("%v; policy %s", err, policyOf(r))
	}
}

// The name of a node in exports does not depend on the working directory.
func TestInstanceID(t *testing.T) {
	if _, path, _ := strings.Cut(instanceID("x"), ":"); !filepath.IsAbs(path) {
		t.Errorf("%q depends on the working directory", instanceID("x"))
	}
}
