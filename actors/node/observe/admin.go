package observe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"
	"time"

	"sluice/actors/node"
	"sluice/transport/listen"
)

// Defaults of Config's zero fields, and limits.
const (
	DefaultAddress  = "127.0.0.1:9464"
	DefaultDeadline = 10 * time.Second

	swapTimeout    = 5 * time.Second // for the gate to adopt a policy
	headerTimeout  = 5 * time.Second // for a request's header
	readTimeout    = 10 * time.Second
	writeTimeout   = 15 * time.Second
	profileTimeout = 90 * time.Second // writeTimeout where profiles are taken
	idleTimeout    = time.Minute
	places         = 64       // HTTP connections at the same time, each door
	headerBytes    = 16 << 10 // of a request's header
	bodyBytes      = 4 << 10  // of a request's body
)

// Config says which doors there are.
type Config struct {
	Address string // of the TCP door, host:port; empty: none
	Force   bool   // allow an address that is not loopback
	Socket  string // path of the unix door; empty: none
	Pprof   bool   // profiles at /debug/pprof/ of both HTTP doors

	Deadline time.Duration           // of a drain that names none; default DefaultDeadline
	Handlers map[string]http.Handler // more pages, such as /metrics, by http.ServeMux pattern without method; both HTTP doors
	Log      *slog.Logger            // who changed what; default slog.Default
	// Front, if not nil, stands before the one-line status at / of both HTTP doors, and may answer in its place.
	Front func(status http.Handler) http.Handler
}

// Admin is the open doors of one server. Start and Close belong to one goroutine.
type Admin struct {
	cfg    Config
	server node.Running
	log    *slog.Logger
	began  time.Time
	api    *http.ServeMux // what every door serves
	pages  *http.ServeMux // api and the handlers that only HTTP serves
	pulse  Pulse
	header time.Duration // for a request's header

	doors []*door
	ended sync.WaitGroup
}

// New checks a configuration.
func New(cfg Config, s node.Running) (*Admin, error) {
	if cfg.Deadline == 0 {
		cfg.Deadline = DefaultDeadline
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Deadline < 0 {
		return nil, fmt.Errorf("admin: Deadline is %v; use a positive duration", cfg.Deadline)
	}
	if cfg.Address != "" {
		if err := checkAddress(cfg.Address, cfg.Force); err != nil {
			return nil, err
		}
	}
	if cfg.Socket != "" {
		if err := listen.CheckSocketPath(cfg.Socket); err != nil {
			return nil, fmt.Errorf("admin: %w", err)
		}
	}
	a := &Admin{cfg: cfg, server: s, log: cfg.Log, began: time.Now(), header: headerTimeout, api: http.NewServeMux(), pages: http.NewServeMux()}
	a.routes()
	return a, a.mount()
}

// mount adds the pages that only HTTP serves. ServeMux panics over patterns it does not understand or that clash.
func (a *Admin) mount() (err error) {
	pattern := ""
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("admin: handler for %q: %v", pattern, v)
		}
	}()
	a.pages.Handle("/", a.api)
	if a.cfg.Front != nil {
		pattern = "/{$}"
		a.pages.Handle(pattern, readOnly(a.cfg.Front(a.api)))
	}
	if a.cfg.Pprof {
		a.pages.HandleFunc("/debug/pprof/", pprof.Index)
		a.pages.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		a.pages.HandleFunc("/debug/pprof/profile", pprof.Profile)
		a.pages.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		a.pages.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	for p, h := range a.cfg.Handlers {
		pattern = p
		if h == nil || strings.Contains(p, " ") {
			return fmt.Errorf("admin: handler for %q: want a pattern without a method, and a handler", p)
		}
		a.pages.Handle(p, readOnly(h))
	}
	return nil
}

// readOnly keeps a mounted page from being a way to change something.
func readOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			refuse(w, r, http.StatusMethodNotAllowed, "%s of a page that can only be read; use GET", r.Method)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// checkAddress refuses an address that others could reach.
func checkAddress(address string, force bool) error {
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return fmt.Errorf("admin: address %q: %w; write host:port, as %s", address, err, DefaultAddress)
	}
	if !force && !at.IP.IsLoopback() {
		return fmt.Errorf("admin: address %q can be reached from other machines, and the admin pages show who is connected to everyone who asks: "+
			"listen on 127.0.0.1 or [::1], or force it", address)
	}
	return nil
}

// Start opens the doors and returns the address of the TCP door, empty if there is none. On an error none is open.
func (a *Admin) Start() (address string, err error) {
	if a.cfg.Address != "" {
		l, err := net.Listen("tcp", a.cfg.Address)
		if err != nil {
			return "", fmt.Errorf("admin: %w; stop what listens there, or choose another address", err)
		}
		address = l.Addr().String()
		a.open(&door{name: "http", listener: l, anyHost: a.cfg.Force && !l.Addr().(*net.TCPAddr).IP.IsLoopback()})
	}
	if a.cfg.Socket != "" {
		l, err := listenUnix(a.cfg.Socket)
		if err != nil {
			a.closeNow()
			return "", err
		}
		a.open(&door{name: "unix socket", listener: l, may: true, anyHost: true})
	}
	a.server.SetCommand(a.command)
	return address, nil
}

// open serves a door.
func (a *Admin) open(d *door) {
	timeout := writeTimeout
	if a.cfg.Pprof {
		timeout = profileTimeout
	}
	d.http = &http.Server{
		Handler: d.guard(a.pages), ConnContext: d.connContext, MaxHeaderBytes: headerBytes,
		ReadHeaderTimeout: a.header, ReadTimeout: readTimeout, WriteTimeout: timeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	a.doors = append(a.doors, d)
	a.ended.Add(1)
	go func() {
		defer a.ended.Done()
		if err := d.http.Serve(newCrowd(d.listener, places)); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("the admin listener ended", "door", d.name, "error", err)
		}
	}()
}

// Close shuts the doors. Requests under way may finish until ctx ends.
func (a *Admin) Close(ctx context.Context) error {
	a.server.SetCommand(nil)
	var errs []error
	for _, d := range a.doors {
		if err := d.http.Shutdown(ctx); err != nil {
			errs = append(errs, err, d.http.Close())
		}
	}
	a.ended.Wait()
	return errors.Join(errs...)
}

func (a *Admin) closeNow() {
	for _, d := range a.doors {
		_ = d.http.Close() // the error that ended the start is the one to report
	}
	a.ended.Wait()
}
