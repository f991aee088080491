package browser

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"

	"sluice/actors/node/observe/status"
	"sluice/telemetry"
)

// laptops are the windows into which the whole page must fit without scrolling.
var laptops = [][2]int64{{1280, 800}, {1366, 768}, {1440, 900}}

// looks checks the appearance of the page, in light and dark: text has enough contrast to its
// background, everything is inside the window, and nothing is cut without a title that has the
// whole text.
func looks(t *testing.T, b *browser, name string) {
	t.Helper()
	const contrasts = `(() => {
		const shade = c => { const [r, g, b] = c.match(/[0-9.]+/g).map(v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
		const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\)$|transparent/.test(c)) return shade(c); } return 1; };
		const poor = new Set();
		for (const e of document.querySelectorAll("h1, h2, h3, small, dt, dd, td:not(.off), th, b, i, em, output, .pill, .sub, .word, .empty, svg text")) {
			if (!e.textContent.trim() || !e.getClientRects().length) continue;
			const style = getComputedStyle(e), a = shade(e.namespaceURI.endsWith("svg") ? style.fill : style.color), b = behind(e);
			const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
			if (contrast < 4.5) poor.add(e.tagName + "." + (e.getAttribute("class") || "") + " " + e.textContent.slice(0, 20) + ": " + contrast.toFixed(2));
		}
		return [...poor];
	})()`
	var backs []float64
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		backs = append(backs, eval[float64](b, `Number(getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0])`))
		for _, poor := range eval[[]string](b, contrasts) {
			t.Errorf("%s, %s: contrast of %s, want 4.5", name, scheme, poor)
		}
		b.keep(name + "-" + scheme)
	}
	if backs[0] < 230 || backs[1] > 40 {
		t.Errorf("%s: the background's red is %v in light and %v in dark", name, backs[0], backs[1])
	}
	b.scheme("light")
	for _, size := range laptops {
		run(b, chromedp.EmulateViewport(size[0], size[1]))
		window := fmt.Sprintf("%dx%d", size[0], size[1])
		b.until("a plot of its new size", `document.querySelector("#latency svg").viewBox.baseVal.width === document.querySelector("#latency").clientWidth`)
		if got := eval[string](b, `[document.documentElement.scrollWidth, document.documentElement.scrollHeight].join("x")`); got != window {
			t.Errorf("%s: the page is %s in a window of %s: it scrolls", name, got, window)
		}
		for _, what := range eval[[]string](b, `[...document.querySelectorAll("h1, h2, h3, .pill, .big, .sub, .word, em, td, th, dd, .empty")].filter(e => e.getClientRects().length && (e.id === "word" || !e.closest("[title]:not([title=''])")) &&
			(e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 2)).map(e => e.textContent)`) {
			t.Errorf("%s, %s: %q does not fit its element", name, window, what)
		}
		for _, what := range eval[[]string](b, `[...document.querySelectorAll(".card, .scroll")].filter(e => e.scrollHeight > e.clientHeight + 1).map(e => e.textContent)`) {
			t.Errorf("%s, %s: a card cuts %.60q", name, window, what)
		}
	}
}

// Rows that a snapshot has at most, and the points of 5 minutes.
const (
	kept      = 300
	slowMost  = 8
	endedMost = 5
)

// crowded returns the snapshot of a server with as much of everything as the page must hold, as in
// the tests of package top.
func crowded() *status.Snapshot {
	s := &status.Snapshot{Status: status.Status{State: "ready", Stalled: []status.Silent{}}, Seconds: 10}
	s.Policy, s.PolicyName = "(persisted>=2 && in_memory>=3) || (persisted>=3 && in_memory>=2)", "two-disks-in-two-different-availability-zones"
	s.Engine, s.Fallback, s.Note = "poll", true, "io_uring is not to be had"
	s.Clients, s.Blocked, s.Sequenced, s.Persisted, s.Up = 16384, 12345, 98_765_432_101, 98_765_420_000, 1e7
	s.Queues = status.Queues{Requests: status.Queue{Depth: 4_000_000, Cap: 4 << 20}, Gate: status.Queue{Depth: 65_536, Cap: 65_536}, Encode: status.Queue{Depth: 65_000, Cap: 65_536}, Egress: status.Queue{Depth: 15 << 20, Cap: 16 << 20}, Buffered: 3 << 30}
	s.Tracing = status.Tracing{Connection: 1<<40 + 12345, Left: 1_000_000}
	for i := range kept {
		wave := 1 + .5*math.Sin(float64(i)/20)
		s.Points = append(s.Points, status.Point{
			N: uint64(i + 1), Requests: 987_654 * wave, Events: 987_654 * wave, Commits: 1234, Released: 1.2e6 * wave, Encoded: 1.2e6 * wave, Responses: 1.2e6 * wave, Bytes: 1.5e9,
			Whole: &status.Latency{Count: 1, Mean: 5e5, P50: uint64(4e5 * wave), P99: uint64(3e6 * wave), P999: uint64(2e7 * wave), Max: 5e7},
		})
	}
	for stage := range telemetry.Stage(telemetry.NumStages) {
		s.Stages = append(s.Stages, status.Stage{Name: stage.Name(), Latency: &status.Latency{Count: 12_345_678, Mean: 999e3, P50: 999e3, P99: 99.9e6, P999: 999e6, Max: 2e9}})
	}
	for i := range 16 {
		s.Shards = append(s.Shards, status.Shard{Shard: i, Responses: 99_949 / float64(1+i%3), Busy: .99, Clients: 1024, Blocked: 1023 * (i % 2), Buffered: 255 << 20})
	}
	for i := range slowMost {
		s.Slow = append(s.Slow, status.Client{ID: 1<<40 + uint64(i), From: fmt.Sprintf("[2001:db8:1234:5678:9abc:def0:1234:%04x]:54321", i), State: []string{"slow", "blocked", "closing"}[i%3], Unsent: 1023 << 10, Lag: 100})
	}
	for i := range endedMost {
		s.Ended = append(s.Ended, status.Ended{From: s.Slow[i].From, Reason: "heartbeat_timeout", Ago: 7000, Unsent: 1023 << 10})
	}
	for r := range telemetry.DropReason(telemetry.NumDropReasons) {
		s.Dropped = append(s.Dropped, status.Drop{Reason: r.Name(), Count: 1_234_567})
	}
	return s
}

// The page shows more of everything than a laptop has room for, and states in which a running
// server seldom is.
func TestPageFitsItsWindow(t *testing.T) {
	b := openBrowser(t)
	var now atomic.Pointer[status.Snapshot]
	page, err := url.Parse(newStand(t).base)
	if err != nil {
		t.Fatal(err)
	}
	fixture := http.NewServeMux() // the page of the program, with figures of the test
	fixture.Handle("/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(page) }})
	fixture.HandleFunc("/live.json", func(w http.ResponseWriter, _ *http.Request) {
		s := now.Load()
		if s == nil {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(s) // an error means that the browser has gone
	})
	server := httptest.NewServer(fixture)
	defer server.Close()
	for _, tt := range []struct {
		name, ready string
		change      func(*status.Snapshot)
	}{
		{"crowded", `document.body.dataset.state === "ready" && document.querySelectorAll("#shards tbody tr").length === 8`, func(*status.Snapshot) {}},
		{"shut", `document.body.dataset.state === "wedged"`, func(s *status.Snapshot) {
			s.Gate = status.Gate{Waiting: true, Wedged: true, Event: s.Persisted + 1, Seconds: 75, Why: "waits for replication: needs persisted>=2 && in_memory>=3 at 98765420001, has persisted 1 (node 1), in_memory 2 (nodes 1 and 2); 1 of 3 nodes is in view"}
			s.Shards, s.Slow = s.Shards[:6], s.Slow[:1]
		}},
		{"topics", `document.querySelectorAll("#topics tbody tr").length === 6`, func(s *status.Snapshot) {
			s.Topics, s.Subscriptions = 65_536, 10_000_000
			for i := range uint64(8) {
				s.Busiest = append(s.Busiest, status.Topic{ID: 1<<63 + i, Name: "depth/4294967295", Subscribers: 16_000,
					Waiting: 384, Frames: 987_654,
					Deliveries: 25e6, Behind: 1023 << 20, BehindBy: 99_999, Gaps: 99_999, Feeds: 16_000, Memory: 1023 << 20,
					Seq: 1 << 40})
			}
		}},
		{"degraded", `document.body.dataset.state === "degraded"`, func(s *status.Snapshot) {
			s.Degraded, s.Dropped, s.Ended, s.Shards = true, s.Dropped[:1], []status.Ended{}, s.Shards[:1]
		}},
		{"over", `document.body.dataset.state === "ended"`, func(s *status.Snapshot) { s.State, s.Slow, s.Tracing = "ended", []status.Client{}, status.Tracing{} }},
	} {
		s := crowded()
		tt.change(s)
		now.Store(s)
		run(b, chromedp.Navigate(server.URL+"/"))
		b.until(tt.name, tt.ready)
		looks(t, b, tt.name)
	}
	b.mu.Lock()
	for _, p := range b.problems {
		t.Errorf("the browser reports: %s", p)
	}
	b.mu.Unlock()
	now.Store(nil)
	b.until("a page without its server", `document.body.dataset.state === "lost" && document.querySelector("#state").textContent.includes("no answer")`)
	b.keep("lost")
}
