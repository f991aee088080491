package observe

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/actors/node/observe/status"
	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/telemetry"
	"sluice/transport"
	"sluice/transport/listen"
)

// hold is what a loop of a server waits for until it is released.
type hold struct {
	on   atomic.Bool
	done chan struct{}
}

func newHold(t *testing.T) (h *hold, release func()) {
	h = &hold{done: make(chan struct{})}
	release = sync.OnceFunc(func() { h.on.Store(false); close(h.done) })
	t.Cleanup(release)
	return h, release
}

func (h *hold) wait() {
	if h.on.Load() {
		<-h.done
	}
}

// heldBook is an application that does not return.
type heldBook struct {
	sequencer.Application[orderbook.Report, orderbook.Answer]
	hold *hold
}

func (b heldBook) Apply(ev *sequencer.Event, out sequencer.Emitter[orderbook.Report, orderbook.Answer]) {
	b.hold.wait()
	b.Application.Apply(ev, out)
}

// heldRing takes no request while it is held.
type heldRing struct {
	transport.Ring
	hold *hold
}

func (r heldRing) Submit() error {
	if r.hold.on.Load() {
		return nil
	}
	return r.Ring.Submit()
}

// lines is a log that a test reads while it is written.
type lines struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) has(words string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), words)
}

// A loop that has not come round for a second is named in the log, at /livez, /readyz, / and in the feed of
// the live page, with for how long, and so is its return. After its time it is no longer live.
func TestStalledLoopsAreShownEverywhere(t *testing.T) {
	for _, v := range []struct {
		name, want string
		hold       func(h *hold, sc *bookConfig)
	}{
		{"journal", "journal has not come round for ", func(h *hold, sc *bookConfig) { sc.Journal.BeforeSync = h.wait }},
		{"sequencer", "sequencer has not come round for ", func(h *hold, sc *bookConfig) {
			books := sc.Application
			sc.Application = func() sequencer.Application[orderbook.Report, orderbook.Answer] {
				return heldBook{books(), h}
			}
		}},
		{"reader", "reader 0 has not come round for ", func(h *hold, sc *bookConfig) {
			sc.Listen.Readers = 1
			sc.Listen.Refused = func(listen.Conn, transport.Reason) { h.wait() }
		}},
		{"ring", "ring 0 has not taken a request for ", func(h *hold, sc *bookConfig) {
			sc.Pipeline.Shards = 1
			sc.Pipeline.OpenRing = func(_ int, c transport.RingConfig) (transport.Ring, error) {
				ring, _, err := transport.Open(transport.ModePoll, c)
				return heldRing{ring, h}, err
			}
		}},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			h, release := newHold(t)
			log := &lines{}
			r := newRig(t, func(sc *bookConfig, c *Config) {
				v.hold(h, sc)
				c.Log = slog.New(slog.NewTextHandler(log, nil))
			})
			c := r.dial("unix", r.unix, nil)
			c.served()
			h.on.Store(true)
			held := time.Now()
			if v.name == "reader" {
				stray, err := net.Dial("tcp", r.tcp)
				if err != nil {
					t.Fatal(err)
				}
				defer stray.Close()
				if _, err := stray.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
					t.Fatal(err)
				}
			} else {
				c.order()
			}
			contains := func(path string) func() bool {
				return func() bool {
					_, text := r.request("tcp", "GET", path, "")
					return strings.Contains(text, v.want)
				}
			}
			for _, path := range []string{"/livez", "/readyz", "/"} {
				until(t, v.want+" at "+path, contains(path))
			}
			until(t, "the feed", func() bool {
				var s status.Snapshot
				_, text := r.request("tcp", "GET", "/live.json", "")
				return json.Unmarshal([]byte(text), &s) == nil && slices.ContainsFunc(s.Stalled,
					func(l status.Silent) bool { return l.Actor == v.name && l.Seconds > 1 })
			})
			until(t, "the log", func() bool { return log.has("msg=stalled loop=" + v.name) })
			code, text := r.request("tcp", "GET", "/livez", "")
			if after := time.Since(held); code != 200 && after < 4*time.Second { // 5 s, from which on it is not live
				t.Errorf("not live after %v: %s", after, text)
			}
			r.clock.ahead.Store(int64(time.Minute))
			if code, text := r.request("tcp", "GET", "/livez", ""); code != 503 {
				t.Errorf("live after a minute: %s", text)
			}
			r.clock.ahead.Store(0)
			release()
			until(t, "the log to say that it goes on", func() bool { return log.has("msg=\"goes on\" loop=" + v.name) })
			if code, text := r.request("tcp", "GET", "/readyz", ""); code != 200 || strings.Contains(text, "has not") {
				t.Errorf("%d %s", code, text)
			}
		})
	}
}

// Every loop of a node is watched.
func TestEveryLoopIsWatched(t *testing.T) {
	r := newRig(t)
	var got []string
	r.server.Collector().Loops(func(l telemetry.Loop) { got = append(got, l.Name) })
	r.server.Collector().Each(func(a *telemetry.Totals) { got = append(got, a.Actor) })
	slices.Sort(got)
	if want := []string{"control", "egress", "encode", "gate", "journal", "reader", "ring", "sequencer",
		"snapshot"}; !slices.Equal(slices.Compact(got), want) {
		t.Errorf("%v, want %v", got, want)
	}
}
