package status

import (
	"bytes"
	"embed"
	"encoding/json"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/actors/node"
)

//go:embed page
var files embed.FS

// lookEvery is the distance of points.
const lookEvery = time.Second

// Live looks at a server once a second until Close. Its handlers may be used by any number of goroutines, also after Close:
// they show the last that was seen.
type Live struct {
	server  node.Running
	boot    time.Time
	history *history
	onPoint func(Point)

	slowMu  sync.Mutex // guards slowAt and slowest, and has one list made at a time
	slowAt  time.Time
	slowest []Client

	stop chan struct{}
	done chan struct{}
}

// Start begins to look at a server that was started. onPoint, if not nil, is told of each point on the looking goroutine.
func Start(s node.Running, onPoint func(Point)) *Live {
	l := &Live{
		server: s, boot: time.Now(), onPoint: onPoint, slowest: []Client{},
		history: newHistory(s.Collector(), s.Now, time.Now), stop: make(chan struct{}), done: make(chan struct{}),
	}
	go l.look()
	return l
}

func (l *Live) look() {
	defer close(l.done)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
			point := l.history.take()
			if l.onPoint != nil {
				l.onPoint(point)
			}
		}
	}
}

// Close ends the looking. Call it once.
func (l *Live) Close() {
	close(l.stop)
	<-l.done
}

// Handlers are the pages by http.ServeMux pattern, all but the one at /, which is Front.
func (l *Live) Handlers() map[string]http.Handler {
	return map[string]http.Handler{
		"/live.json": http.HandlerFunc(l.serveSnapshot),
		"/live/":     http.HandlerFunc(servePart),
	}
}

// Front answers with the page whoever asks for HTML, as browsers do, and leaves everyone else to next.
func (l *Live) Front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept")
		if !wantsHTML(r.Header.Get("Accept")) || r.URL.RawQuery != "" {
			next.ServeHTTP(w, r)
			return
		}
		servePage(w, r, "page.html")
	})
}

// wantsHTML reports whether an Accept header names HTML. One that accepts anything, as curl's does, does not.
func wantsHTML(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		kind, weight, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(kind), "text/html") {
			return strings.TrimRight(strings.ReplaceAll(weight, " ", ""), ".0") != "q="
		}
	}
	return false
}

// servePart serves style, script and icon.
func servePart(w http.ResponseWriter, r *http.Request) {
	servePage(w, r, strings.TrimPrefix(r.URL.Path, "/live/"))
}

func servePage(w http.ResponseWriter, r *http.Request, name string) {
	kind := map[string]string{
		".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
	}[path.Ext(name)]
	text, err := files.ReadFile("page/" + name)
	if err != nil || kind == "" {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	_, _ = w.Write(text) // nobody is left to hear of an error
}

// serveSnapshot serves the numbers.
func (l *Live) serveSnapshot(w http.ResponseWriter, r *http.Request) {
	after := uint64(0)
	if text := r.URL.Query().Get("after"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			http.Error(w, "after="+strconv.Quote(text)+": write the number of the last point that is known", http.StatusBadRequest)
			return
		}
		after = n
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(l.snapshot(r.Context(), after)); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(b.Bytes()) // nobody is left to hear of an error
}
