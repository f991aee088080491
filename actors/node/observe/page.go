package observe

import (
	"bytes"
	"embed"
	"encoding/json"
	"net/http"
	"path"
	"strconv"
	"strings"

	"sluice/actors/node/observe/status"
)

//go:embed page
var files embed.FS

// livePage serves the page for browsers and its feed.
type livePage struct{ watcher *status.Watcher }

// handlers are the pages by http.ServeMux pattern, except the one at /, which is front.
func (p livePage) handlers() map[string]http.Handler {
	return map[string]http.Handler{
		"/live.json": http.HandlerFunc(p.serveSnapshot),
		"/live/":     http.HandlerFunc(servePart),
	}
}

// front serves the page to clients that accept HTML, as browsers do, and leaves other requests to
// next.
func (p livePage) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept")
		if negotiate(r, mediaText, mediaJSON, mediaHTML) != mediaHTML || r.URL.RawQuery != "" {
			next.ServeHTTP(w, r)
			return
		}
		servePage(w, r, "page.html")
	})
}

// servePart serves style, script and icon.
func servePart(w http.ResponseWriter, r *http.Request) {
	servePage(w, r, strings.TrimPrefix(r.URL.Path, "/live/"))
}

func servePage(w http.ResponseWriter, r *http.Request, name string) {
	kind := map[string]string{
		".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
		".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
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
	h.Set("Content-Security-Policy",
		"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
			"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	_, _ = w.Write(text) // on an error the client is gone
}

// serveSnapshot serves the numbers.
func (p livePage) serveSnapshot(w http.ResponseWriter, r *http.Request) {
	after := uint64(0)
	if text := r.URL.Query().Get("after"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			http.Error(w, "after="+strconv.Quote(text)+"; write the number of the last known point",
				http.StatusBadRequest)
			return
		}
		after = n
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(p.watcher.Snapshot(r.Context(), after)); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(b.Bytes()) // on an error the client is gone
}
