package live

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestWhoAsksForHTMLGetsThePage(t *testing.T) {
	d := newStand(t, nil)
	for _, tt := range []struct{ name, accept, path, want string }{
		{"a browser", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "/", "<!doctype html>"},
		{"html in capitals, last", "image/png, Text/HTML;q=0.1", "/", "<!doctype html>"},
		{"curl", "*/*", "/", "ready; 0 clients"},
		{"nothing said", "", "/", "ready; 0 clients"},
		{"html refused", "text/html;q=0, */*", "/", "ready; 0 clients"},
		{"html refused at length", "text/html; q=0.000", "/", "ready; 0 clients"},
		{"a program", "application/json", "/", `{"state":"ready"`},
		{"a browser that asks for JSON", "text/html", "/?format=json", `{"state":"ready"`},
		{"the style", "text/css", "/live/page.css", ":root"},
		{"no such part", "*/*", "/live/../live.go", "no GET"},
		{"a folder", "*/*", "/live/", "404"},
		{"points of nonsense", "*/*", "/live.json?after=x", "write the number"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.base+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept", tt.accept)
			answer, err := http.DefaultClient.Do(r)
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

// The page is offline by construction: nothing in it names another host.
func TestNothingInThePageComesFromElsewhere(t *testing.T) {
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
		if rest := strings.ReplaceAll(string(text), "http://www.w3.org/2000/svg", ""); strings.Contains(rest, "http:") {
			t.Errorf("%s names another host", name)
		}
	}
}

func TestAFrameKeepsToItsTerminal(t *testing.T) {
	s := exampleSnapshot()
	for _, f := range []Frame{{Width: 60, Height: 10}, {Width: 80, Height: 24, Color: true}, {Width: 200}} {
		var b bytes.Buffer
		if err := WriteFrame(&b, s, f); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if f.Height > 0 && len(lines) != f.Height {
			t.Errorf("%+v: %d lines", f, len(lines))
		}
		for _, line := range lines {
			for _, code := range []string{bold, soft, red, good, gold, blue, bold + ";" + red, bold + ";" + good, "0"} {
				line = strings.ReplaceAll(line, "\x1b["+code+"m", "")
			}
			if n := len([]rune(line)); n > f.Width || strings.Contains(line, "\x1b") {
				t.Errorf("%+v: %d wide: %q", f, n, line)
			}
		}
	}
}

func TestASnapshotIsItsJSON(t *testing.T) {
	text, err := json.Marshal(exampleSnapshot())
	if err != nil {
		t.Fatal(err)
	}
	var back Snapshot
	if err := json.Unmarshal(text, &back); err != nil || back.Points[1].Whole.P99 != 9_000_000 || back.Slow[0].ID != 1<<40+7 {
		t.Fatalf("%+v, %v", back, err)
	}
}

func exampleSnapshot() *Snapshot {
	return &Snapshot{
		State: "ready", Up: 4000, Engine: "uring", Policy: "persisted>=1", Alias: "local", Clients: 64, Sequenced: 1234567, Persisted: 1234500,
		Gate:   Gate{Waiting: true, Wedged: true, Event: 1234501, Seconds: 2.5, Why: "waits for journal: needs persisted>=1 at 1234501, is at 1234500"},
		Points: []Point{{N: 1}, {N: 2, Requests: 12345, Whole: &Latency{Count: 5, P50: 400_000, P99: 9_000_000, P999: 20_000_000}}},
		Shards: []Shard{{Shard: 0, Responses: 100}, {Shard: 1, Responses: 50, Blocked: 1}}, Seconds: 10,
		Stages: []Stage{{Name: "gate", Latency: &Latency{Mean: 1e6, P50: 5e5, P99: 9e6, P999: 2e7}}, {Name: "send"}},
		Slow:   []Client{{ID: 1<<40 + 7, From: "127.0.0.1:4711", State: "blocked", Unsent: 123456, Lag: 3}},
	}
}
