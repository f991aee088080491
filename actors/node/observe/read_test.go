package observe

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/transport"
)

// Event 1 is the identity of the key, event 2 the order.
func TestPagesOverBothEndpoints(t *testing.T) {
	r := newRig(t)
	c := r.dial("tcp", r.tcp, r.trader)
	c.served()
	for _, endpoint := range []string{"tcp", "unix"} {
		for path, want := range map[string]string{
			"/": "ready; 1 client, 0 blocked, 0 paused; policy local, persisted>=1; gate open; event 2; " +
				"engine poll (compiled in: " +
				strings.Join(transport.Engines(), ", ") + "); up ",
			"/livez":              "live\n",
			"/readyz":             "ready\npolicy local, persisted>=1, degraded 0s in all\ngate open\nThe portable engine",
			"/policy":             "policy local, persisted>=1\nopen to 2, bound by journal\ngate open\n",
			"/connections":        "open connections: 1; the first 1 by buffered:\n",
			"/connections/closed": "ended connections: 0; the last 0:\n",
			"/topics":             "0 topics with subscribers\n",
			"/stats":              "sequencer_last_event",
		} {
			if code, text := r.request(endpoint, "GET", path, ""); code != 200 ||
				!strings.Contains(text, want) {
				t.Errorf("%s %s: %d %q, want %q", endpoint, path, code, text, want)
			}
			code, text := r.request(endpoint, "GET", path+"?format=json", "")
			var any map[string]any
			mustJSON(t, text, &any)
			if code != 200 || len(any) == 0 {
				t.Errorf("%s %s: %d %q", endpoint, path, code, text)
			}
		}
	}
}

func TestConnectionsListClientsAndFigures(t *testing.T) {
	r := newRig(t)
	first := r.dial("tcp", r.tcp, r.trader)
	first.served()
	second := r.dial("unix", r.unix, nil)
	second.served()
	second.served()
	var page Connections
	if err := (&Client{Socket: r.socket}).Get(soon(t), "/connections?by=age", &page); err != nil {
		t.Fatal(err)
	}
	if page.Open != 2 || len(page.Top) != 2 {
		t.Fatalf("%+v", page)
	}
	a, b := page.Top[0], page.Top[1]
	if a.From != first.NetConn().LocalAddr().String() || a.Role != "trader" ||
		a.Listener != "desk" || len(a.Key) != 16 || a.Ended != 1 || a.Sent == 0 ||
		a.State != "open" || a.Unsent != 0 {
		t.Errorf("first: %+v", a)
	}
	if !strings.HasPrefix(b.From, "user id ") || b.Listener != "local" || b.Key != "-" ||
		b.Ended != 2 || b.Sent != 2*a.Sent || b.Age > a.Age {
		t.Errorf("second: %+v", b)
	}
	if err := (&Client{Socket: r.socket}).Get(soon(t), "/connections?top=1&by=age",
		&page); err != nil || len(page.Top) != 1 || page.Top[0].ID != a.ID || page.Open != 2 {
		t.Errorf("top=1: %+v, %v", page, err)
	}
	second.Close()
	var closed Closed
	until(t, "the end to be listed", func() bool {
		if err := (&Client{Socket: r.socket}).Get(soon(t), "/connections/closed?last=1",
			&closed); err != nil {
			t.Fatal(err)
		}
		return closed.Total == 1
	})
	if e := closed.Last[0]; e.ID != b.ID || e.Reason != "peer_closed" || e.Number != 1 ||
		e.Listener != "local" || e.Sent != b.Sent || e.From != b.From {
		t.Errorf("closed: %+v", e)
	}
}

func TestMalformedRequestsAreRejected(t *testing.T) {
	r := newRig(t)
	for _, v := range []struct {
		name, method, path, body string
		code                     int
	}{
		{"unknown path", "GET", "/connection", "", 404},
		{"unknown key", "GET", "/connections?limit=3", "", 400},
		{"key twice", "GET", "/connections?top=3&top=4", "", 400},
		{"no number", "GET", "/connections?top=many", "", 400},
		{"nothing", "GET", "/connections?top=0", "", 400},
		{"too many", "GET", "/connections?top=1001", "", 400},
		{"unknown order", "GET", "/connections?by=name", "", 400},
		{"order of connections", "GET", "/topics?by=lag", "", 400},
		{"no topics", "GET", "/topics?top=0", "", 400},
		{"unknown form", "GET", "/?format=xml", "", 400},
		{"broken query", "GET", "/?a=%zz", "", 400},
		{"key of another page", "GET", "/connections/closed?top=3", "", 400},
		{"change by GET", "GET", "/kick", "", 404},
		{"page by POST", "POST", "/connections", "", 404},
		{"page by DELETE", "DELETE", "/policy", "", 404},
		{"no body", "POST", "/policy", "", 400},
		{"no object", "POST", "/policy", `"local"`, 400},
		{"two objects", "POST", "/policy", `{"policy":"local"}{"policy":"local"}`, 400},
		{"half an object", "POST", "/policy", `{"policy":"local"`, 400},
		{"unknown name", "POST", "/policy", `{"policy":"local","forced":true}`, 400},
		{"name twice", "POST", "/policy", `{"policy":"replicated","policy":"local"}`, 400},
		{"name in capitals", "POST", "/policy", `{"policy":"replicated","Force":true}`, 400},
		{"wrong kind", "POST", "/policy", `{"policy":["local"]}`, 400},
		{"no policy", "POST", "/policy", `{}`, 400},
		{"policy not understood", "POST", "/policy", `{"policy":"persisted>=0"}`, 422},
		{"policy never met", "POST", "/policy", `{"policy":"replicated"}`, 422},
		{"argument in the query", "POST", "/policy?policy=local", `{"policy":"local"}`, 400},
		{"body too long", "POST", "/policy",
			`{"policy":"` + strings.Repeat(" ", bodyBytes) + `local"}`, 400},
		{"connection as a number", "POST", "/kick", `{"connection":1}`, 400},
		{"connection 0", "POST", "/kick", `{"connection":"0"}`, 400},
		{"no such connection", "POST", "/kick", `{"connection":"7"}`, 404},
		{"deadline without unit", "POST", "/drain", `{"deadline":"10"}`, 400},
		{"deadline too long", "POST", "/drain", `{"deadline":"24h"}`, 400},
		{"deadline in the past", "POST", "/drain", `{"deadline":"-1s"}`, 400},
	} {
		if code, text := r.request("unix", v.method, v.path, v.body); code != v.code || text == "" {
			t.Errorf("%s: %d %q, want %d", v.name, code, text, v.code)
		}
	}
	if p := r.server.Policy().Current().String(); p != "persisted>=1" || !r.server.Ready() {
		t.Errorf("policy %s, ready %t", p, r.server.Ready())
	}
}

func TestHostNameIsRejectedOnLoopback(t *testing.T) {
	// Insecure applies to other addresses only.
	r := newRig(t, func(_ *bookConfig, c *Config) { c.Insecure = true })
	for host, want := range map[string]string{
		"127.0.0.1:9464": "200", "localhost": "200", "[::1]:9464": "200",
		"evil.example:9464": "403", "localhost.evil.example": "403", "[": "403",
	} {
		line := r.raw("GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
		if !strings.Contains(line, want) && (host != "[" || !strings.Contains(line, "400")) {
			t.Errorf("host %q: %q, want %s", host, line, want)
		}
	}
}

func TestMountedPagesAndProfiles(t *testing.T) {
	seen := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("measured"))
	})
	r := newRig(t, func(_ *bookConfig, c *Config) {
		c.Handlers, c.Pprof = map[string]http.Handler{"/metrics": seen, "/live/": seen}, true
	})
	for path, want := range map[string]int{"/metrics": 200, "/live/x": 200,
		"/debug/pprof/goroutine?debug=1": 200, "/nothing": 404} {
		if code, _ := r.request("tcp", "GET", path, ""); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	if code, _ := r.request("unix", "POST", "/metrics", ""); code != 405 {
		t.Errorf("POST /metrics: %d", code)
	}
	plain := newRig(t)
	if code, _ := plain.request("tcp", "GET", "/debug/pprof/", ""); code != 404 {
		t.Errorf("profiles although Pprof is false: %d", code)
	}
}

func TestRejectedConfigurations(t *testing.T) {
	for _, v := range []struct {
		name, want string
		c          Config
	}{
		{"all addresses", "can be reached from other machines", Config{Admin: ":9464"}},
		{"address of another machine", "can be reached from other machines",
			Config{Admin: "192.0.2.1:9464"}},
		{"no port", "write host:port", Config{Admin: "127.0.0.1"}},
		{"long socket", "at most 107", Config{Socket: strings.Repeat("x", 108)}},
		{"negative drain", "positive", Config{DrainTimeout: -1}},
	} {
		if _, err := Listen(v.c); err == nil || !strings.Contains(err.Error(), v.want) {
			t.Errorf("%s: %v, want %q", v.name, err, v.want)
		}
	}
	l, err := Listen(Config{Admin: ":0", Insecure: true})
	if err != nil {
		t.Fatalf("insecure: %v", err)
	}
	l.Close()
}

func TestStalledServerIsNotLive(t *testing.T) {
	s, reached, release := stalled(t)
	r := newRig(t, s)
	c := r.dial("unix", r.unix, nil)
	c.served()
	c.Close()
	<-reached
	code, text := r.request("tcp", "GET", "/livez", "")
	if code != 200 || !strings.Contains(text, "gate has not come round for ") {
		t.Fatalf("%d %q", code, text)
	}
	r.clock.ahead.Store(int64(time.Minute))
	if code, text := r.request("tcp", "GET", "/livez", ""); code != 503 ||
		!strings.HasPrefix(text, "not live; ") {
		t.Fatalf("%d %q", code, text)
	}
	release()
	r.clock.ahead.Store(0)
	if code, text := r.request("tcp", "GET", "/livez", ""); code != 200 {
		t.Fatalf("%d %q after it went on", code, text)
	}
}

// A server whose queue of requests has been full for a second is not ready, and says why.
func TestFullQueueIsNotReady(t *testing.T) {
	r := newRig(t, func(n *bookConfig, _ *Config) {
		n.QueueBytes, n.Pipeline.Slots, n.Journal.RingBytes = 1<<14, 1<<8, 1<<14
		n.Policy, n.ForcePolicy = "persisted>=2", true // cannot be met by one node
	})
	c := r.dial("tcp", r.tcp, r.trader)
	sent := make(chan struct{})
	go func() {
		defer close(sent) // order ends this goroutine if the connection fails
		for range 5000 {
			c.order()
		}
	}()
	until(t, "503", func() bool {
		code, text := r.request("tcp", "GET", "/readyz", "")
		return code == 503 && strings.Contains(text, "not ready: no requests are taken")
	})
	if _, text := r.request("tcp", "GET", "/", ""); !strings.Contains(text, "1 paused") {
		t.Errorf("status %q", text)
	}
	if _, _, err := r.server.SwapPolicy(soon(t), "local", false); err != nil {
		t.Fatal(err)
	}
	if err := c.NetConn().SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, c.NetConn())
	<-sent
	until(t, "200", func() bool {
		code, _ := r.request("tcp", "GET", "/readyz", "")
		return code == 200
	})
}
