package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/actors"
	"sluice/cmd/orderbook"
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

// A client that takes its answers has some unsent at almost every moment, and is not slow.
func TestWhoHoldsBack(t *testing.T) {
	for _, tt := range []struct {
		name  string
		given actors.Figures
		want  string
	}{
		{"nothing waits", actors.Figures{}, ""},
		{"answers on their way", actors.Figures{Unsent: 4096, Answers: 64}, ""},
		{"a full socket", actors.Figures{Unsent: 100, Lag: time.Millisecond}, "blocked"},
		{"beyond a limit", actors.Figures{Unsent: 1 << 20, Lag: time.Second, Slow: true}, "slow"},
		{"leaving, with answers", actors.Figures{Unsent: 1, Slow: true, Closing: true}, "closing"},
		{"leaving", actors.Figures{Closing: true}, ""},
	} {
		if got := holdsBack(tt.given); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestFeedNamesHungDisk(t *testing.T) {
	d := newStand(t, nil)
	feed := func(good func(Gate) bool) func() error {
		return func() error {
			answer, err := http.Get(d.base + "/live.json")
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			var s Snapshot
			if err := json.NewDecoder(answer.Body).Decode(&s); err != nil || !good(s.Gate) {
				return fmt.Errorf("%+v %v", s.Gate, err)
			}
			return nil
		}
	}
	d.disk(false)
	c := d.dial(0)
	order := orderbook.Command{
		Tag: orderbook.TagNew, Account: 1, ClientOrderID: 1, Instrument: 1, Side: orderbook.Buy, Type: orderbook.Limit,
		TimeInForce: orderbook.GoodTillCancel, Price: 100, Quantity: 1,
	}
	if err := errors.Join(c.Send(1, order.Tag, body(&order)), c.Flush()); err != nil {
		t.Fatal(err)
	}
	until(t, "a wedged gate that waits for the journal", feed(func(g Gate) bool {
		return g.Waiting && g.Wedged && g.Event == 1 && strings.Contains(g.Why, "waits for journal")
	}))
	d.disk(true)
	until(t, "an open gate", feed(func(g Gate) bool { return !g.Waiting && !g.Wedged }))
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
