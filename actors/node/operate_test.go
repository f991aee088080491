package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/cmd/orderbook"
	"sluice/telemetry"
	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/listen"
)

// changes is what a fixture's server runs with.
func changes() Changes { return Changes{Limits: transport.DefaultLimits()} }

// Above its rate a client is told ServerBusy between whole answers, and nothing of what was refused
// is executed; a reload changes the rate of clients that are connected.
func TestServerBusyComesAtFrameBoundaries(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		cfg := config(t.TempDir(), mode, os.Stderr)
		cfg.Listen.RequestRate = listen.Rate{PerSecond: 0.001, Burst: 5}
		s, at := serve(t, cfg)
		c := dial(t, "tcp", at[0])
		const n = 20
		for i := range uint64(n) {
			cmd := order(1, i+1, orderbook.Buy, 100, 5)
			if err := c.conn.Send(i, cmd.Tag, body(cmd)); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.conn.Flush(); err != nil {
			t.Fatal(err)
		}
		busy, accepted := 0, 0
		for busy+accepted < n {
			switch got := c.next(); {
			case got == "busy":
				busy++
			case strings.HasPrefix(got, "accepted"):
				accepted++
				c.expect("end") // an answer and its end are never torn apart
			default:
				t.Fatalf("got %q", got)
			}
		}
		if accepted != 5 || s.listener.Counters().Shed != n-5 {
			t.Errorf("%d accepted, %d busy, %d shed", accepted, busy, s.listener.Counters().Shed)
		}
		change := changes()
		change.RequestRate = listen.Rate{PerSecond: 1e6, Burst: 100}
		if err := s.Reload(change); err != nil {
			t.Fatal(err)
		}
		c.command(order(1, 100, orderbook.Buy, 100, 5)) // the debt under the slower rate is forgotten but for one burst
		if got := c.next(); got == "busy" {
			until(t, "the new rate to be in force", func() bool {
				c.command(position(1))
				return c.next() != "busy"
			})
		}
		drain(t, s)
	})
}

func TestConnectRatePerAddress(t *testing.T) {
	cfg := config(t.TempDir(), transport.ModePoll, os.Stderr)
	cfg.Listen.ConnectRate = listen.Rate{PerSecond: 0.001, Burst: 2}
	s, at := serve(t, cfg)
	try := func(network, address string) error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		c, err := client.Dial(ctx, network, address, client.Options{})
		if err == nil {
			c.Close()
		}
		return err
	}
	for i := range 4 {
		if err := try("tcp", at[0]); (err != nil) != (i >= 2) {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	if err := try("unix", at[1]); err != nil {
		t.Errorf("another endpoint: %v", err)
	}
	if n := s.listener.Counters().Ended[transport.ReasonAddressLimit]; n != 2 {
		t.Errorf("%d closed for their address", n)
	}
	if err := s.Reload(changes()); err != nil {
		t.Fatal(err)
	}
	if err := try("tcp", at[0]); err != nil {
		t.Errorf("without a limit: %v", err)
	}
	drain(t, s)
}

// Each endpoint has its own limits, and a reload changes them for clients that are connected.
func TestLimitsByEndpoint(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		tight := transport.Limits{HardBytes: 2048, SoftBytes: 2048, SoftFor: time.Hour,
			NoProgress: time.Hour}
		wide := transport.DefaultLimits()
		wide.NoProgress, wide.SoftFor = time.Hour, time.Hour
		cfg := config(t.TempDir(), mode, io.Discard)
		cfg.Listen.Endpoints[0].Name, cfg.Listen.Endpoints[1].Name = "desk", "local"
		cfg.Listen.SendBuffer = 4096
		cfg.Pipeline.Limits, cfg.EndpointLimits = []transport.Limits{wide}, map[string]transport.Limits{"local": tight}
		s, at := serve(t, cfg)
		desk, local := dial(t, "tcp", at[0]), dial(t, "unix", at[1])
		id := uint64(0)
		ask := func(c *trader) { // for answers that are not read
			for range 200 {
				id++
				cmd := order(1, id, orderbook.Buy, 100, 5)
				_ = c.conn.Send(id, cmd.Tag, body(cmd))
			}
			_ = c.conn.Flush() // an error says that the server has closed it, which is asked below
		}
		ended := func() (tcp, unix bool) {
			last, _ := s.LastClosed(10)
			for _, x := range last {
				if x.Reason != transport.ReasonSlowHard || x.Notice.Unsent > tight.HardBytes {
					t.Fatalf("%+v", x)
				}
				tcp, unix = tcp || x.Client.Listener == "desk", unix || x.Client.Listener == "local"
			}
			return tcp, unix
		}
		until(t, "the tight endpoint's client to be ended", func() bool {
			ask(local)
			tcp, unix := ended()
			if tcp {
				t.Fatal("the other endpoint's client was ended")
			}
			return unix
		})
		again := Changes{Limits: tight, EndpointLimits: map[string]transport.Limits{"local": wide}}
		if err := s.Reload(again); err != nil {
			t.Fatal(err)
		}
		until(t, "the client of the endpoint that is tight now to be ended", func() bool {
			ask(desk)
			tcp, _ := ended()
			return tcp
		})
	})
}

// Clients that never got in are counted by reason, and logged unless they left by themselves.
func TestRejectedClientsAreCountedAndLogged(t *testing.T) {
	log := &lines{}
	cfg := config(t.TempDir(), transport.ModePoll, log)
	cfg.Listen.Endpoints = append(cfg.Listen.Endpoints, withKeys(t, &cfg))
	cfg.Listen.ConnectRate = listen.Rate{PerSecond: 0.001, Burst: 3}
	cfg.Pipeline.MaxConnections = 1
	s, at := serve(t, cfg)
	dial(t, "unix", at[1])
	_, unknown, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(why string) (n float64) {
		s.pipeline.Collector().Gauges(func(g telemetry.Gauge, value float64) {
			if g.ID == telemetry.ListenerRefused && g.Value == why {
				n += value
			}
		})
		return n
	}
	try := func(network, address string, key ed25519.PrivateKey) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if c, err := client.Dial(ctx, network, address, client.Options{Key: key}); err == nil {
			c.Close()
			t.Errorf("a client got in at %s", address)
		}
	}
	leaver, err := net.Dial("tcp", at[2])
	if err != nil {
		t.Fatal(err)
	}
	leaver.Close()
	try("tcp", at[2], unknown)
	try("tcp", at[0], nil)
	try("tcp", at[0], nil) // the fourth from this address
	try("unix", at[1], nil)
	want := map[string]float64{
		"unknown_key": 1, "connection_limit_reached": 2, "too_many_connections_from_address": 1,
		"peer_left_during_handshake": 1, "handshake_timeout": 0,
	}
	for why, n := range want {
		until(t, fmt.Sprintf("%v to be refused for %s", n, why),
			func() bool { return refused(why) == n })
	}
	drain(t, s)
	for words, n := range map[string]int{
		"reason=unknown_key reason_number=35": 1, "reason=connection_limit_reached reason_number=38": 2,
		"reason=too_many_connections_from_address reason_number=40": 1, `from="user id `: 1,
		"from=127.0.0.1:": 3,
		"client rejected": 4,
	} {
		if got := strings.Count(log.String(), words); got != n {
			t.Errorf("%d lines say %s, want %d:\n%s", got, words, n, log)
		}
	}
}

// A client that falls behind is logged once as slow, with its figures, and once as recovered when
// it has taken everything.
func TestSlowClientIsLogged(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		const orders, soft = 2000, 4096 // answers of 100 KB, of which the socket takes a tenth
		log := &lines{}
		cfg := config(t.TempDir(), mode, log)
		cfg.Listen.SendBuffer = 4096
		cfg.Pipeline.Limits = []transport.Limits{{HardBytes: 1 << 20, SoftBytes: soft,
			SoftFor: time.Hour, NoProgress: time.Hour}}
		s, at := serve(t, cfg)
		c := dial(t, "unix", at[1])
		for i := uint64(1); i <= orders; i++ {
			c.command(order(1, i, orderbook.Buy, 100, 1))
		}
		line := func(words string) (found []string) {
			for l := range strings.Lines(log.String()) {
				if strings.Contains(l, words) {
					found = append(found, l)
				}
			}
			return found
		}
		until(t, "the client to be slow", func() bool { return len(line("client is slow")) > 0 })
		if n := len(line("client recovered")); n != 0 {
			t.Errorf("%d lines say that it has recovered, and it has read nothing", n)
		}
		for i := 1; i <= orders; i++ {
			c.expect(fmt.Sprintf("accepted %d seq=%d", i, i), "end")
		}
		until(t, "the client to recover", func() bool { return len(line("slow client recovered")) > 0 })
		drain(t, s)
		slow, recovered := line("client is slow"), line("slow client recovered")
		if len(slow) != 1 || len(recovered) != 1 {
			t.Fatalf("want each once:\n%s%s", slow, recovered)
		}
		unsent, blocked := 0, ""
		for word := range strings.FieldsSeq(slow[0]) {
			_, _ = fmt.Sscanf(word, "unsent_bytes=%d", &unsent) // other words do not match
			_, _ = fmt.Sscanf(word, "blocked=%s", &blocked)
		}
		if unsent <= soft || blocked == "" || blocked == "0s" ||
			!strings.Contains(slow[0], "level=WARN") {
			t.Errorf("the figures are wrong: %s", slow[0])
		}
		if !strings.Contains(recovered[0], "unsent_bytes=0 ") ||
			!strings.Contains(recovered[0], "level=INFO") {
			t.Errorf("the figures are wrong: %s", recovered[0])
		}
	})
}

// A reload reads the keys again: a key that is gone cannot connect any more, a new one can, and who
// is connected stays.
func TestReloadReadsTheKeys(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys")
	var keys [2]ed25519.PrivateKey
	var lines [2][]byte
	for i := range keys {
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		keys[i], lines[i] = private, listen.AppendKeyLine(nil, listen.Trader, public, "")
	}
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(lines[0])
	cfg := config(dir, transport.ModePoll, io.Discard)
	cfg.KeysFile, cfg.Listen.Endpoints[0].Open = path, false
	s, at := serve(t, cfg)
	try := func(i int) (*client.Conn, error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return client.Dial(ctx, "tcp", at[0], client.Options{Key: keys[i]})
	}
	first, err := try(0)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := try(1); !errors.Is(err, client.ErrAuthFailed) {
		t.Fatalf("an unknown key: %v", err)
	}
	write([]byte("trader nonsense\n"))
	if c, err := s.ReloadKeys(); c.Keys != 0 || err == nil || !strings.Contains(err.Error(), "keys:1") {
		t.Fatalf("a broken keys file: %+v, %v", c, err)
	}
	write(lines[1])
	bad := changes()
	bad.Limits.HardBytes = 1
	bad.RequestRate = listen.Rate{PerSecond: 0.001, Burst: 1}
	if err := s.Reload(bad); err == nil {
		t.Fatal("limits that cannot be were taken")
	}
	bad = changes()
	bad.EndpointLimits = map[string]transport.Limits{"elsewhere": transport.DefaultLimits()}
	if err := s.Reload(bad); err == nil || !strings.Contains(err.Error(), "no endpoint") {
		t.Fatalf("limits for an unknown endpoint: %v", err)
	}
	if c, err := try(0); err != nil { // nothing has changed: neither the keys nor the rate
		t.Fatal(err)
	} else {
		trader := &trader{t: t, conn: c}
		for i := range uint64(3) { // after event 1, which gives the key its number
			trader.command(order(1, i+1, orderbook.Buy, 100, 5))
			trader.expect(fmt.Sprintf("accepted %d seq=%d", i+1, i+2), "end")
		}
		c.Close()
	}
	if err := s.Reload(changes()); err != nil {
		t.Fatal(err)
	}
	if c, err := s.ReloadKeys(); c.Keys != 1 || err != nil {
		t.Fatal(c, err)
	}
	if _, err := try(0); !errors.Is(err, client.ErrAuthFailed) {
		t.Errorf("a key that is gone: %v", err)
	}
	second, err := try(1)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	old := &trader{t: t, conn: first}
	old.expect("close: revoked")
	drain(t, s)
}
