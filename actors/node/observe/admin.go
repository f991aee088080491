package observe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"
	"time"

	"sluice/actors/internal/linelimit"
	"sluice/actors/node"
	"sluice/actors/node/observe/status"
)

// admin serves the API of one node through its endpoints.
type admin struct {
	cfg     Config
	node    node.Running
	log     *slog.Logger
	began   time.Time
	api     *http.ServeMux    // what every endpoint serves, including the client port
	pages   *http.ServeMux    // api and the pages that only HTTP serves
	refused linelimit.Limiter // of log lines about commands that are not carried out
	denied  linelimit.Limiter // of audit lines about requests without the right to them
	pulse   *status.Pulse

	endpoints []*endpoint
	served    sync.WaitGroup // goroutines of the endpoints
}

// newAdmin makes an admin with more pages by pattern. front, if not nil, may answer requests of /
// before the status does.
func newAdmin(cfg Config, n node.Running, began time.Time, pulse *status.Pulse,
	pages map[string]http.Handler, front func(status http.Handler) http.Handler) (*admin, error) {
	a := &admin{
		cfg: cfg, node: n, log: cfg.Log, began: began, pulse: pulse,
		api: http.NewServeMux(), pages: http.NewServeMux(),
	}
	a.routes()
	return a, a.mount(pages, front)
}

// mount adds the pages that only HTTP serves. ServeMux panics on patterns that it does not
// understand or that clash.
func (a *admin) mount(pages map[string]http.Handler,
	front func(http.Handler) http.Handler) (err error) {
	pattern := ""
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("observe: handler for %q: %v", pattern, v)
		}
	}()
	a.pages.Handle("/", a.api)
	if front != nil {
		pattern = "/{$}"
		a.pages.Handle(pattern, readOnly(front(a.api)))
	}
	if a.cfg.Pprof {
		a.pages.HandleFunc("/debug/pprof/", pprof.Index)
		a.pages.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		a.pages.HandleFunc("/debug/pprof/profile", pprof.Profile)
		a.pages.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		a.pages.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	for p, h := range pages {
		pattern = p
		if h == nil || strings.Contains(p, " ") {
			return fmt.Errorf("observe: handler for %q: give a handler, and a pattern without a method", p)
		}
		a.pages.Handle(p, readOnly(h))
	}
	return nil
}

// readOnly rejects requests of a mounted page that could change something.
func readOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			reject(w, r, http.StatusMethodNotAllowed,
				"the page is read-only, and the method is %s; use GET", r.Method)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// serve serves the endpoints, and commands over the client port.
func (a *admin) serve(l *Listeners) {
	if l.tcp != nil {
		a.open(&endpoint{name: "http", listener: l.tcp, anyHost: a.cfg.Insecure && !loopback(l.tcp)})
	}
	if l.unix != nil {
		a.open(&endpoint{name: "unix socket", listener: l.unix, operator: true, anyHost: true})
	}
	if l.only != nil {
		a.open(&endpoint{name: "metrics", listener: l.only, anyHost: true, metrics: true})
	}
	if l.tls != nil {
		a.open(&endpoint{name: "https", listener: l.tls, anyHost: true, access: l.access})
	}
	a.node.SetCommand(a.command)
}

// open serves an endpoint.
func (a *admin) open(e *endpoint) {
	timeout := writeTimeout
	if a.cfg.Pprof {
		timeout = profileTimeout
	}
	e.places = newPlaces(e.listener, maxConnections)
	e.http = &http.Server{
		Handler: e.guard(a, a.pages), ConnContext: e.connContext, ConnState: e.places.state,
		MaxHeaderBytes:    headerBytes,
		ReadHeaderTimeout: a.cfg.headerTimeout, ReadTimeout: readTimeout, WriteTimeout: timeout,
		IdleTimeout: idleTimeout,
		ErrorLog:    slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	a.endpoints = append(a.endpoints, e)
	serve := e.http.Serve
	if e.access != nil {
		e.http.TLSConfig = e.access.config()
		e.http.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
		serve = func(l net.Listener) error { return e.http.ServeTLS(l, "", "") }
	}
	a.served.Go(func() {
		err := serve(e.places)
		if !errors.Is(err, net.ErrClosed) { // by close
			a.log.Error("admin endpoint failed", "endpoint", e.name, "error", err)
		}
	})
}

// close closes the endpoints. Requests under way may finish until ctx ends; so may those of connections
// that were accepted, if they come soon.
func (a *admin) close(ctx context.Context) error {
	a.node.SetCommand(nil)
	var errs []error
	for _, e := range a.endpoints {
		errs = append(errs, e.places.Close())
	}
	a.served.Wait()
	soon, cancel := context.WithTimeout(ctx, a.cfg.settleFor)
	defer cancel()
	for _, e := range a.endpoints {
		e.places.settle(soon)
		if err := e.http.Shutdown(ctx); err != nil {
			errs = append(errs, err, e.http.Close())
		}
	}
	a.refused.Flush(a.log)
	if a.cfg.Audit != nil {
		a.denied.Flush(a.cfg.Audit)
	}
	return errors.Join(errs...)
}
