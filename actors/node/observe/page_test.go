package observe

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"sluice/actors/node/observe/status"
)

func TestBrowsersGetThePage(t *testing.T) {
	r := newRig(t)
	for _, tt := range []struct{ name, accept, path, want string }{
		{"a browser", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "/",
			"<!doctype html>"},
		{"html in capitals, last", "image/png, Text/HTML;q=0.1", "/", "<!doctype html>"},
		{"curl", "*/*", "/", "ready; 0 clients"},
		{"no header", "", "/", "ready; 0 clients"},
		{"html refused", "text/html;q=0, */*", "/", "ready; 0 clients"},
		{"html refused at length", "text/html; q=0.000", "/", "ready; 0 clients"},
		{"a program", "application/json", "/", `{"state":"ready"`},
		{"a browser that asks for JSON", "text/html", "/?format=json", `{"state":"ready"`},
		{"the style", "text/css", "/live/page.css", ":root"},
		{"no such part", "*/*", "/live/../live.go", "no GET"},
		{"a folder", "*/*", "/live/", "404"},
		{"malformed number", "*/*", "/live.json?after=x", "write the number"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
				"http://"+r.web+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			q.Header.Set("Accept", tt.accept)
			answer, err := http.DefaultClient.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			text, err := io.ReadAll(answer.Body)
			if err != nil || !strings.Contains(string(text), tt.want) {
				t.Fatalf("%v %.200s", err, text)
			}
			if tt.path == "/" && answer.Header.Get("Vary") != "Accept" {
				t.Error("a cache could mix up page and status: no Vary")
			}
		})
	}
}

// No file of the page names another host.
func TestPageLoadsNothingFromElsewhere(t *testing.T) {
	for _, name := range []string{"page.html", "page.css", "page.js"} {
		text, err := files.ReadFile("page/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"https:", "@import", "url(", "innerHTML", "eval("} {
			if strings.Contains(string(text), bad) {
				t.Errorf("%s contains %q", name, bad)
			}
		}
		rest := strings.ReplaceAll(string(text), "http://www.w3.org/2000/svg", "")
		if strings.Contains(rest, "http:") {
			t.Errorf("%s names another host", name)
		}
	}
}

func TestFeedNamesHungDisk(t *testing.T) {
	disk := make(chan struct{})
	mend := sync.OnceFunc(func() { close(disk) })
	defer mend()
	r := newRig(t, func(sc *bookConfig, _ *Config) { sc.Journal.BeforeSync = func() { <-disk } })
	gate := func() status.Gate {
		var s status.Snapshot
		code, text := r.request("tcp", "GET", "/live.json", "")
		if err := json.Unmarshal([]byte(text), &s); err != nil || code != 200 {
			t.Fatalf("%d %v", code, err)
		}
		return s.Gate
	}
	r.dial("unix", r.unix, nil).order()
	until(t, "a wedged gate that waits for the journal", func() bool {
		g := gate()
		return g.Waiting && g.Wedged && g.Event == 1 && strings.Contains(g.Why, "waits for journal")
	})
	mend()
	until(t, "an open gate", func() bool { g := gate(); return !g.Waiting && !g.Wedged })
}
