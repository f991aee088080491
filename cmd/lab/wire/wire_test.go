package wire

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/actors/node"
	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/listen"
)

const patience = 60 * time.Second // for what takes milliseconds on a quiet machine

type (
	echoNode   = node.Node[echoed, struct{}]
	echoConfig = node.Config[echoed, struct{}]
)

// server is a running node with three endpoints, as check.py takes addresses.
type server struct {
	*echoNode
	tcp, unix, keyed string
	seed             string // in hexadecimal, of the key that the keyed endpoint knows
}

// each runs a test with every engine.
func each(t *testing.T, test func(t *testing.T, mode transport.Mode)) {
	for _, name := range transport.Engines() {
		t.Run(name, func(t *testing.T) {
			mode, err := transport.ParseMode(name)
			if err != nil {
				t.Fatal(err)
			}
			test(t, mode)
		})
	}
}

// serve opens a node that is stopped at the end of the test.
func serve(t *testing.T, mode transport.Mode, change func(*echoConfig)) *server {
	t.Helper()
	dir := t.TempDir()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{'k'}, ed25519.SeedSize))
	keys := filepath.Join(dir, "keys")
	line := listen.AppendKeyLine(nil, listen.Trader, key.Public().(ed25519.PublicKey), "python")
	if err := os.WriteFile(keys, line, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := echoConfig{
		Application: newEcho, Encoder: echoEncoder{}, DataDir: filepath.Join(dir, "data"),
		KeysFile: keys, Log: slog.New(slog.DiscardHandler),
		Listen: listen.Config{
			Endpoints: []listen.Endpoint{
				{Network: "tcp", Address: "127.0.0.1:0", Open: true},
				{Network: "unix", Address: filepath.Join(dir, "s"), Open: true},
				{Network: "tcp", Address: "127.0.0.1:0"},
			},
			Announce: listen.Announce{Name: "echo"},
		},
		Journal: node.Journal{SegmentBytes: 1 << 20},
	}
	cfg.Pipeline.IO = mode
	cfg.Pipeline.Egress.DrainSpread = 10 * time.Millisecond
	if change != nil {
		change(&cfg)
	}
	n, err := node.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = n.Stop(ctx) // some tests have ended it already
	})
	at := n.Addresses()
	return &server{n, "tcp " + at[0], "unix " + at[1], "tcp " + at[2], hex.EncodeToString(key.Seed())}
}

// dial connects a client in Go, over TCP or, if i is odd, a unix-domain socket.
func (s *server) dial(t *testing.T, i int) *client.Conn {
	t.Helper()
	network, address, _ := strings.Cut([]string{s.tcp, s.unix}[i%2], " ")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, network, address, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(patience))
	return c
}

// python returns the command for a script and a check of it.
func python(t *testing.T, arguments ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3: the protocol is not checked against a second implementation")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, path, append([]string{"-B"}, arguments...)...)
}

// check runs a check of check.py.
func check(t *testing.T, arguments ...string) {
	t.Helper()
	checkBy(t, "check.py", arguments...)
}

func checkBy(t *testing.T, script string, arguments ...string) {
	t.Helper()
	if out, err := python(t, append([]string{script}, arguments...)...).CombinedOutput(); err != nil {
		t.Errorf("%s %v: %v\n%s", script, arguments, err, out)
	}
}

func TestVectorsOfTheDocument(t *testing.T) {
	check(t, "vectors", "../../../docs/wire.md")
}

func TestHandshakes(t *testing.T) {
	s := serve(t, transport.ModePoll, func(c *echoConfig) {
		c.Listen.RequestRate = listen.Rate{PerSecond: 10.5, Burst: 20}
	})
	ready := `{"version": 1, "flags": 1, "max_request": 1024, "max_response": 508, "window": 0, "rate": 11,` +
		` "burst": 20, "heartbeat": 1000, "silence": 30000, "name": "echo"}`
	for _, address := range []string{s.tcp, s.unix} {
		check(t, "handshake", address, ready)
		check(t, "unsuitable", address, "a key is configured and the server does not ask for it", s.seed)
	}
	check(t, "handshake", s.keyed, ready, s.seed)
	check(t, "unsuitable", s.keyed, "the server asks for a key")
	check(t, "refused", s.keyed, "unauthorized", "0xffffffff", strings.Repeat("00", 32))
}

// The client sends requests of all kinds at once, far above its rate.
func TestEveryResponseIsAttributed(t *testing.T) {
	each(t, func(t *testing.T, mode transport.Mode) {
		s := serve(t, mode, func(c *echoConfig) {
			c.Listen.RequestRate = listen.Rate{PerSecond: 20, Burst: 200}
		})
		check(t, "pipeline", s.tcp, "200")
		check(t, "pipeline", s.unix, "200")
	})
}

func TestClientLearnsWhyTheServerCloses(t *testing.T) {
	each(t, func(t *testing.T, mode transport.Mode) {
		s := serve(t, mode, nil)
		for _, address := range []string{s.tcp, s.unix} {
			check(t, "malformed", address)
			closed(t, address, "kicked", func(conn uint64) error { return s.Kick(conn) })
		}
		closed(t, s.tcp, "shutdown", func(uint64) error {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			return s.Drain(ctx)
		})
		silent := serve(t, mode, func(c *echoConfig) { c.Listen.IdleTimeout = 2 * time.Second })
		for _, address := range []string{silent.tcp, silent.unix} {
			closed(t, address, "silent", func(uint64) error { return nil })
		}
		strict := serve(t, mode, func(c *echoConfig) { c.Listen.HandshakeTimeout = 100 * time.Millisecond })
		for _, address := range []string{strict.tcp, strict.unix, strict.keyed} {
			check(t, "late", address)
		}
	})
}

// closed runs the check of a connection that end, which is given its id, has the server close.
func closed(t *testing.T, address, reason string, end func(conn uint64) error) {
	t.Helper()
	command := python(t, "check.py", "closed", address, reason)
	var problem bytes.Buffer
	command.Stderr = &problem
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	var conn uint64
	if err == nil {
		conn, err = strconv.ParseUint(strings.TrimSpace(line), 10, 64)
	}
	if err == nil {
		err = end(conn)
	}
	rest, _ := io.ReadAll(lines)
	if waitErr := command.Wait(); err != nil || waitErr != nil {
		t.Errorf("check.py closed %s %s: %v, %v\n%s%s%s", address, reason, err, waitErr, line, rest, &problem)
	}
}

func TestClientLearnsWhyItIsNotAdmitted(t *testing.T) {
	full := serve(t, transport.ModePoll, func(c *echoConfig) { c.Pipeline.MaxConnections = 1 })
	full.dial(t, 0)
	check(t, "refused", full.tcp, "limit", "1000")
	check(t, "refused", full.unix, "limit", "1000")

	slow := serve(t, transport.ModePoll, func(c *echoConfig) {
		c.Listen.ConnectRate = listen.Rate{PerSecond: 0.001, Burst: 1}
	})
	slow.dial(t, 0)
	check(t, "refused", slow.tcp, "limit", "1000")
}

func TestClientLearnsWhereToGo(t *testing.T) {
	each(t, func(t *testing.T, mode transport.Mode) {
		for _, leader := range []string{"node-2:7000", ""} {
			s := serve(t, mode, func(c *echoConfig) {
				c.Listen.Direct = func() (string, bool) { return leader, true }
			})
			check(t, "directed", s.tcp, leader)
			check(t, "directed", s.unix, leader)
			check(t, "directed", s.keyed, leader, s.seed)
		}
	})
}

// Each check has topics and a server of its own. One shard, so a client that comes back finds the history.
func TestTopics(t *testing.T) {
	each(t, func(t *testing.T, mode transport.Mode) {
		for _, name := range []string{"order", "resumption", "refused", "half_close", "slow"} {
			t.Run(name, func(t *testing.T) {
				for i := range 2 {
					s := serve(t, mode, func(c *echoConfig) {
						c.Pipeline.Shards, c.Pipeline.Topics.TapeBytes = 1, 64<<10
						patient := transport.DefaultLimits() // a client that is to be behind reads nothing meanwhile
						patient.NoProgress = time.Hour
						c.Pipeline.Limits = []transport.Limits{patient}
						c.Listen.IdleTimeout = time.Hour
					})
					checkBy(t, "topics.py", name, []string{s.tcp, s.unix}[i])
				}
			})
		}
	})
}

// The application under test repeats a text.
func Example() {
	frame, err := echoEncoder{}.AppendReport(nil, &echoed{size: 2, text: [64]byte{'h', 'i'}})
	fmt.Printf("% x %v\n", frame, err)
	// Output: 03 00 00 00 30 68 69 <nil>
}
