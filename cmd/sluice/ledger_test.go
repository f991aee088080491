package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sluice/actors/node/observe"
	"sluice/actors/node/observe/status"
	"sluice/telemetry"
)

// books is a server that exports over OTLP and writes its measurements to a file, so that its
// ledger can be checked after its end.
type books struct {
	t       *testing.T
	p       *process
	in      *collector
	address string
	socket  string // admin socket
	file    string // file of the last measurements
}

func bookkeeping(t *testing.T, args ...string) *books {
	t.Helper()
	dir := t.TempDir()
	b := &books{t: t, in: collecting(t, "http/protobuf"), socket: filepath.Join(dir, "admin"),
		file: filepath.Join(dir, "stats.json")}
	b.p, b.address = serving(t, filepath.Join(dir, "data"), append([]string{
		"--admin-socket", b.socket, "--stats-file", b.file, "--heartbeat", "1h", "--shards", "2",
		"--drain-spread", "1ms",
	}, args...)...)
	return b
}

// reaches waits until a metric without labels has a value.
func (b *books) reaches(name string, want int) {
	b.t.Helper()
	until(b.t, name, b.p.metric(name, strconv.Itoa(want)))
}

// waiting lets n clients send orders behind a closed gate, and returns the clients when all orders
// wait.
func (b *books) waiting(n, orders int) []*trader {
	b.t.Helper()
	operate(b.t, b.socket, "--force", "policy", "hybrid")
	clients := make([]*trader, n)
	for i := range clients {
		clients[i] = trading(b.t, b.address, i)
		clients[i].rests(orders)
	}
	b.reaches("sluice_gate_pending", n*orders)
	return clients
}

// connections returns the connected clients.
func (b *books) connections() []observe.Connection {
	b.t.Helper()
	var page observe.Connections
	out, problems, code := local("admin", "--admin-socket", b.socket, "--json", "connections")
	if err := json.Unmarshal([]byte(out), &page); err != nil || code != 0 {
		b.t.Fatalf("exit code %d: %s%s %v", code, out, problems, err)
	}
	return page.Top
}

// close checks the ledger in the last export and in the file, which must be the same: every
// response of the application was sent, or dropped for a reason. Every request of these tests has
// one response. It returns the counts.
func (b *books) close() (sent int, dropped map[string]int) {
	b.t.Helper()
	written, err := status.ReadMeasurements(b.file)
	if err != nil {
		b.t.Fatal(err)
	}
	given := int(b.in.sum("sluice.sequencer.events") + b.in.sum("sluice.sequencer.queries"))
	seen := int(b.in.sum("sluice.gate.released"))
	sent, all := int(b.in.sum("sluice.response.sent")), 0
	dropped = map[string]int{}
	for r := range telemetry.DropReason(telemetry.NumDropReasons) {
		n := int(b.in.sum("sluice.response.dropped", "reason", r.Name()))
		if n != 0 {
			dropped[r.Name()] = n
		}
		if other := int(written.Counter("dropped", r.Name())); other != n {
			b.t.Errorf("dropped for %s: %d exported, %d written", r.Name(), n, other)
		}
		all += n
	}
	b.t.Logf("%d responses, %d at the gate, %d sent, dropped %v", given, seen, sent, dropped)
	if given != sent+all || seen != given || int(b.in.sum("sluice.response.dropped")) != all {
		b.t.Errorf("%d responses, %d at the gate; %d sent and %d dropped %v are %d", given, seen,
			sent, all, dropped, sent+all)
	}
	if n := int(written.Counter("egress_frames_sent")); n != sent {
		b.t.Errorf("%d sent written, %d exported", n, sent)
	}
	return sent, dropped
}

// hasWritten checks the counts in the file alone.
func (b *books) hasWritten(sent, shutdown int) {
	b.t.Helper()
	written, err := status.ReadMeasurements(b.file)
	if err != nil {
		b.t.Fatal(err)
	}
	s, d := int(written.Counter("egress_frames_sent")), int(written.Counter("dropped", "shutdown"))
	if s != sent || d != shutdown {
		b.t.Errorf("%d sent and %d dropped written; want %d and %d", s, d, sent, shutdown)
	}
}

// wants checks the counts of the ledger.
func (b *books) wants(sent int, dropped map[string]int) {
	b.t.Helper()
	if s, d := b.close(); s != sent || fmt.Sprint(d) != fmt.Sprint(dropped) {
		b.t.Errorf("%d sent, dropped %v; want %d and %v", s, d, sent, dropped)
	}
}

func TestLedgerAfterOrderlyEnd(t *testing.T) {
	b := bookkeeping(t)
	for i := range 3 {
		r := trading(t, b.address, i)
		r.rests(50)
		r.settle()
	}
	b.p.signal(syscall.SIGTERM)
	b.p.ends(0, "drained in")
	b.wants(150, map[string]int{})
}

// Requests are in flight at the signal. Every accepted request is answered, and clients and server
// count the same.
func TestLedgerAfterDrainUnderLoad(t *testing.T) {
	b := bookkeeping(t)
	clients := make([]*trader, 4)
	for i := range clients {
		clients[i] = trading(t, b.address, i)
		clients[i].rests(2000)
	}
	b.p.signal(syscall.SIGTERM)
	for _, r := range clients {
		for r.next() {
		}
	}
	b.p.ends(0, "drained in")
	b.wants(int(totals(clients).frames), map[string]int{})
}

// Clients are killed while their responses wait.
func TestLedgerAfterClientsAreKilled(t *testing.T) {
	b := bookkeeping(t)
	for _, r := range b.waiting(3, 40) {
		r.vanish()
	}
	b.reaches("sluice_active_connections", 0)
	operate(t, b.socket, "policy", "local")
	b.reaches("sluice_gate_pending", 0)
	b.p.signal(syscall.SIGTERM)
	b.p.ends(0, "drained in")
	b.wants(0, map[string]int{"client_gone": 120})
}

// An operator kicks one of two clients. The other one receives its responses.
func TestLedgerAfterKick(t *testing.T) {
	b := bookkeeping(t)
	clients := b.waiting(2, 40)
	open := b.connections()
	if len(open) != 2 {
		t.Fatalf("connections %v", open)
	}
	operate(t, b.socket, "kick", strconv.FormatUint(open[0].ID, 10))
	b.reaches("sluice_active_connections", 1)
	operate(t, b.socket, "policy", "local")
	for _, r := range clients {
		for r.ended < r.asked && r.next() {
		}
	}
	b.p.signal(syscall.SIGTERM)
	b.p.ends(0, "drained in")
	if got := totals(clients).frames; got != 40 {
		t.Errorf("both clients together received %d responses, want 40", got)
	}
	b.wants(40, map[string]int{"client_gone": 40})
}

// A client sends queries and does not read. It is closed at its limit or by an operator. The
// responses in its buffers are dropped for that reason, later ones because the client is gone.
func TestLedgerAfterClientThatDoesNotRead(t *testing.T) {
	for _, tt := range []struct {
		reason string
		args   []string
		kick   bool
	}{
		{"slow_client", []string{"--hard-limit", "16KiB", "--soft-limit", "8KiB"}, false},
		{"kicked", []string{"--hard-limit", "8MiB", "--soft-limit", "8MiB", "--no-progress", "1h"},
			true},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			b := bookkeeping(t, tt.args...)
			slow := trading(t, b.address, 0)
			for full := false; !full; {
				if slow.asked > 1<<20 { // the kernel's buffers hold the answers of about 80,000
					t.Fatalf("%d queries did not reach the limit", slow.asked)
				}
				err := slow.hoard(5000)
				if full = err != nil; !tt.kick {
					continue
				}
				if top := b.connections(); len(top) == 1 && top[0].Unsent > 0 && top[0].Lag > 0 { // its socket is full
					operate(t, b.socket, "kick", strconv.FormatUint(top[0].ID, 10))
					full = true
				}
			}
			b.reaches("sluice_active_connections", 0)
			b.p.signal(syscall.SIGTERM)
			b.p.ends(0, "drained in")
			sent, dropped := b.close()
			if others := len(dropped) - 1; sent == 0 || dropped[tt.reason] == 0 ||
				others > 0 && dropped["client_gone"] == 0 || others > 1 {
				t.Errorf("%d sent, dropped %v; want some for %s, others for client_gone only", sent,
					dropped, tt.reason)
			}
		})
	}
}

// The gate is closed at the signal and stays closed. All waiting responses are dropped at the
// deadline.
func TestLedgerAfterClosedGate(t *testing.T) {
	for name, again := range map[string]bool{"the deadline ends it": false,
		"a second signal ends it": true} {
		t.Run(name, func(t *testing.T) {
			drain := "300ms"
			if again {
				drain = "1h"
			}
			b := bookkeeping(t, "--drain", drain)
			r := trading(t, b.address, 9)
			r.rests(10)
			r.settle()
			b.waiting(3, 40)
			b.p.signal(syscall.SIGTERM)
			if again {
				b.p.err.await(t, "still draining after")
				b.p.signal(syscall.SIGTERM)
			}
			b.p.ends(1, "responses unsent")
			if strings.Contains(b.p.err.String(), "not everything that was measured was exported") {
				b.hasWritten(10, 120) // a machine that is busy has no time left for the last export
			} else {
				b.wants(10, map[string]int{"shutdown": 120})
			}
			if !strings.Contains(b.p.err.String(), "dropped") {
				t.Errorf("the last report lacks the dropped responses:\n%s", b.p.err)
			}
		})
	}
}
