package observe

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/actors/internal/linelimit"
)

// keeper is a client that keeps its connection open between requests.
type keeper struct {
	t    testing.TB
	conn net.Conn
	read *bufio.Reader
}

func keep(t testing.TB, network, address string) *keeper {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &keeper{t, c, bufio.NewReader(c)}
}

// get sends a request and returns its status, 0 if the connection has ended.
func (k *keeper) get(path string) int {
	k.t.Helper()
	if _, err := fmt.Fprintf(k.conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path); err != nil {
		return 0
	}
	answer, err := http.ReadResponse(k.read, nil)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		k.t.Fatal(err)
	}
	return answer.StatusCode
}

// Connections that are only kept open, used or not, never keep a probe out: the one that has waited
// longest goes first.
func TestProbesFindAPlaceAmongIdleConnections(t *testing.T) {
	r := newRig(t, func(_ *bookConfig, c *Config) { c.headerTimeout = 10 * patience })
	for network, address := range map[string]string{"tcp": r.web, "unix": r.socket} {
		t.Run(network, func(t *testing.T) {
			var all []*keeper
			for i := range 2 * maxConnections {
				k := keep(t, network, address)
				if i%2 == 0 && k.get("/readyz") != http.StatusOK {
					t.Fatalf("connection %d is not served", i)
				}
				all = append(all, k)
			}
			for _, path := range []string{"/livez", "/readyz", "/healthz"} {
				if got := keep(t, network, address).get(path); got != http.StatusOK {
					t.Errorf("%s: %d", path, got)
				}
			}
			if got := all[len(all)-2].get("/livez"); got != http.StatusOK {
				t.Errorf("the newest connection in use was closed: %d", got)
			}
			if got := all[0].get("/livez"); got != 0 {
				t.Errorf("the oldest connection is still served: %d", got)
			}
		})
	}
}

// A probe of HTTP/1.0 sends no host, and localhost has many spellings.
func TestEverySpellingOfThisMachineIsAccepted(t *testing.T) {
	for host, want := range map[string]bool{
		"": true, "localhost": true, "LOCALHOST": true, "LocalHost.": true, "localhost.:9464": true,
		"127.0.0.1": true, "127.0.0.1:9464": true, "127.1": true, "127.1:9464": true, "2130706433": true,
		"[::1]": true, "[::1]:9464": true, "::1": true, "192.0.2.1": true,
		"localhost.evil.example": false, "evil.example:9464": false, "127.1.evil.example": false,
		"localhost..": false, "[": false, "[::1": false, "1a": false, "evil": false,
	} {
		if got := plainHost(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
	r := newRig(t)
	for _, request := range []string{"GET /livez HTTP/1.0\r\n\r\n",
		"HEAD /readyz HTTP/1.0\r\n\r\n", "GET /readyz HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n"} {
		if line := r.raw(request); !strings.Contains(line, "200") {
			t.Errorf("%q: %q", request, line)
		}
	}
}

// A server that ends does not remove the socket that another server has made at its path.
func TestSocketOfAnotherServerIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	old, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	successor, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the new server cannot be reached: %v", err)
	}
	c.Close()
	if err := successor.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the new server left its socket: %v", err)
	}
}

// Every peer can send commands that are rejected. Their log lines are limited.
func TestLinesAboutRejectedCommandsAreLimited(t *testing.T) {
	log := &logged{}
	r := newRig(t, func(_ *bookConfig, c *Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	k := keep(t, "tcp", r.web)
	const sent = 300
	began := time.Now()
	for range sent {
		if _, err := io.WriteString(k.conn,
			"POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(k.read, nil)
		if err != nil || answer.StatusCode != http.StatusForbidden {
			t.Fatal(answer, err)
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Fatal(err)
		}
	}
	most := linelimit.PerSecond * (int(time.Since(began).Seconds()) + 2)
	if got := strings.Count(log.String(), "command rejected"); got == 0 || got > most {
		t.Errorf("%d lines about %d requests in %v, want at most %d", got, sent, time.Since(began), most)
	}
	until(t, "the others are counted", func() bool { return strings.Contains(log.String(), "left_out=") })
}

// The form with the greatest weight is written, whatever the order in the header.
func TestAcceptIsReadByWeight(t *testing.T) {
	for _, v := range []struct{ accept, want string }{
		{"", mediaText}, {"*/*", mediaText}, {"application/json", mediaJSON},
		{"application/json;q=0.5, text/plain", mediaText},
		{"text/plain;q=.4, application/json;q=.5", mediaJSON},
		{"application/json;q=0", mediaText}, {"application/json;q=0, */*", mediaText},
		{"application/*;q=0.9, text/*;q=0.8", mediaJSON}, {"APPLICATION/JSON ; Q=1", mediaJSON},
		{"*/*;q=0.1, application/json;q=0.2", mediaJSON}, {"image/png", mediaText},
		{"text/html,application/xhtml+xml,*/*;q=0.8", mediaText}, {"application/json;q=2", mediaText},
		{"application/jsonp", mediaText}, {"text/*, text/plain;q=0.1, application/json;q=0.2", mediaJSON},
	} {
		r := &http.Request{Header: http.Header{"Accept": {v.accept}}}
		if got := negotiate(r, mediaText, mediaJSON); got != v.want {
			t.Errorf("%q: %s, want %s", v.accept, got, v.want)
		}
	}
}

// A value that is empty, null or of another kind is a mistake, and nothing is carried out.
func TestEmptyValuesAreRejected(t *testing.T) {
	r := newRig(t)
	for _, v := range []struct{ path, body, want string }{
		{"/drain", `{"deadline":""}`, "write a time from 1ms"},
		{"/drain", `{"deadline":null}`, "deadline is null"},
		{"/policy", `{"policy":"local","force":null}`, "force is null"},
		{"/kick", `{"connection":1}`, `connection must be a string, such as "1099511627777"`},
		{"/drain", `{"deadline":10}`, `deadline must be a string, such as "10s"`},
		{"/kick", `{"connection":null}`, "connection is null"},
		{"/trace", `{"connection":"1","responses":null}`, "responses is null"},
	} {
		if code, text := r.request("unix", "POST", v.path, v.body); code != 400 ||
			!strings.Contains(text, v.want) {
			t.Errorf("POST %s %s: %d %s", v.path, v.body, code, text)
		}
	}
	if !r.server.Ready() {
		t.Error("the server drains")
	}
}

// A connection that was accepted before the end is served: another observer may have the same sockets, and
// a client of that one would get no answer.
func TestAcceptedConnectionIsServedAtTheEnd(t *testing.T) {
	r := newRig(t, func(_ *bookConfig, c *Config) { c.headerTimeout, c.settleFor = 10*patience, 10*patience })
	e := r.admin.endpoints[1]
	shut := make(chan struct{})
	e.http.RegisterOnShutdown(sync.OnceFunc(func() { close(shut) })) // it is shut down again in the end
	k := keep(t, "unix", r.socket)
	until := func(fact func() bool) {
		for done := false; !done; runtime.Gosched() {
			e.places.mu.Lock()
			done = fact()
			e.places.mu.Unlock()
		}
	}
	until(func() bool { return len(e.places.taken) > 0 })
	ended := make(chan error, 1)
	go func() { ended <- r.admin.close(t.Context()) }()
	until(func() bool { return e.places.closed })
	select {
	case <-shut:
		t.Error("requests are dropped before the one of a connection that was accepted")
	case <-time.After(50 * time.Millisecond): // an error here is missed, never reported wrongly
	}
	if got := k.get("/livez"); got != http.StatusOK {
		t.Errorf("status %d", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
