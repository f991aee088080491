//go:build linux

package main

import (
	"net/http"

	"sluice"
)

// documentation serves the documentation of this version below /docs/, as plain text.
func documentation() http.Handler {
	files := http.StripPrefix("/docs", http.FileServerFS(sluice.Pages()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		if last := r.URL.Path[len(r.URL.Path)-1]; last != '/' { // not a list of files
			h.Set("Content-Type", "text/plain; charset=utf-8")
		}
		files.ServeHTTP(w, r)
	})
}
