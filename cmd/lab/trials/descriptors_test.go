package trials

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/trade"
	"sluice/transport"
	"sluice/transport/client"
)

const (
	starvedTraders   = 8   // clients with a key
	starvedStrangers = 160 // peers that connect and say nothing, always; more than what is kept for files
	starvedAdmins    = 60  // connections to the admin pages that are kept open; there are 64 places
)

// At every limit of descriptors from the least with which a server starts to one with which no peer
// waits: clients that are connected trade through rollovers and snapshots of the journal, while peers
// without a key and connections to the admin pages take what they can, and the configuration is
// reloaded. The server does not end, answers probes, and after kill -9 and a restart every acknowledged
// order is there.
func TestDescriptorsAtEveryLimit(t *testing.T) {
	program := buildProgram(t)
	engines(t, func(t *testing.T, engine transport.Mode) {
		least := leastDescriptors(t, program, engine)
		const plenty = starvedTraders + starvedStrangers + 10
		waited, acked := 0, 0
		for more := 0; more <= plenty; more += scale(plenty/3, 8, 1) {
			s := newStarved(t, program, engine, least+more)
			places := min(starvedTraders, more+1)
			acked += s.life(places)
			waited += s.paused
			s.audit()
			if t.Failed() {
				t.Fatalf("with %d descriptors\n%s", s.limit, s.log.Bytes())
			}
		}
		t.Logf("%d to %d descriptors: %d orders acknowledged, all found; accepting paused in %d lives",
			least, least+plenty, acked, waited)
		if waited == 0 {
			t.Error("descriptors never ran out")
		}
	})
}

// starved is a server with few descriptors.
type starved struct {
	t      *testing.T
	dir    string
	limit  int
	cmd    func() *exec.Cmd
	log    bytes.Buffer // of the server; read after its end
	admin  string
	key    ed25519.PrivateKey
	acked  [starvedTraders][]uint64 // client order ids
	paused int                      // 1 if accepting paused
}

func newStarved(t *testing.T, program string, engine transport.Mode, limit int) *starved {
	t.Helper()
	dir, err := os.MkdirTemp(scratch(t), "sluice-starved-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &starved{t: t, dir: dir, limit: limit, admin: freePort(t)}
	if _, err := client.GenerateKey(filepath.Join(dir, "key")); err != nil {
		t.Fatal(err)
	}
	if s.key, err = client.ReadKey(filepath.Join(dir, "key")); err != nil {
		t.Fatal(err)
	}
	public := base64.StdEncoding.EncodeToString(s.key.Public().(ed25519.PublicKey))
	for name, text := range map[string]string{"keys": "trader " + public + "\n", "sluice.yaml": "soft-limit: 64KiB\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.cmd = func() *exec.Cmd {
		return limited(limit, program, "serve", "--data-dir", filepath.Join(dir, "data"), "--config",
			filepath.Join(dir, "sluice.yaml"), "--authorized-keys", filepath.Join(dir, "keys"),
			"--listen-tcp", "", "--listen-unix", s.socket(), "--admin-address", s.admin, "--io", engine.String(),
			"--shards", "2", "--stats-file", filepath.Join(dir, "stats"), "--log-level", "warn",
			"--journal-segment", "8KiB", "--snapshot-events", "200")
	}
	return s
}

func (s *starved) socket() string { return filepath.Join(s.dir, "s") }

// limited is a command with a limit of descriptors.
func limited(n int, program string, args ...string) *exec.Cmd {
	cmd := exec.Command("/bin/sh", append([]string{"-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, n), program}, args...)...)
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL} // a server ends with a killed test
	return cmd
}

// leastDescriptors returns the limit below which the server does not start, as it says.
func leastDescriptors(t *testing.T, program string, engine transport.Mode) int {
	t.Helper()
	s := newStarved(t, program, engine, 64)
	out, err := s.cmd().CombinedOutput()
	var exit *exec.ExitError
	found := regexp.MustCompile(`needs (\d+) to serve one client`).FindSubmatch(out)
	if !errors.As(err, &exit) || exit.ExitCode() != 64 || found == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// start starts the server. The result of its end comes on ended.
func (s *starved) start() (p *os.Process, ended chan error) {
	s.t.Helper()
	cmd := s.cmd()
	cmd.Stderr = &s.log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended = make(chan error, 1)
	exited := make(chan struct{})
	go func() { ended <- cmd.Wait(); close(exited) }()
	s.t.Cleanup(func() { _ = cmd.Process.Kill(); <-exited })
	until(s.t, "the server to serve", func() bool { return s.probe("/readyz") == nil || len(ended) > 0 })
	return cmd.Process, ended
}

// probe asks an admin page for a good response, on a connection of its own.
func (s *starved) probe(page string) error {
	one := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	answer, err := one.Get("http://" + s.admin + page)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(answer.Body); err != nil {
		return err
	}
	if regexp.MustCompile(`(?m)^sluice_listener_accept_pauses_total [1-9]`).Match(text.Bytes()) {
		s.paused = 1
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", page, answer.Status)
	}
	return nil
}

// life runs a server, trades and kills it. It returns the number of acknowledged orders.
func (s *starved) life(places int) (acked int) {
	s.t.Helper()
	server, ended := s.start()
	var traders []*trade.Client
	for i := range places {
		traders = append(traders, s.trader(i))
	}
	quit, beside := make(chan struct{}), sync.WaitGroup{}
	again := func(n int, act func()) {
		for range n {
			beside.Go(func() {
				for {
					select {
					case <-quit:
						return
					default:
						act()
					}
				}
			})
		}
	}
	hold := func(network, address string) func() {
		return func() {
			c, err := net.Dial(network, address)
			if err != nil {
				return // the server has ended
			}
			defer c.Close()
			gone := make(chan struct{})
			go func() { _, _ = io.Copy(io.Discard, c); close(gone) }()
			select {
			case <-gone:
			case <-quit:
			}
		}
	}
	again(starvedStrangers, hold("unix", s.socket()))
	again(starvedAdmins, hold("tcp", s.admin))
	again(1, func() {
		_ = server.Signal(unix.SIGHUP) // fails once the server has ended
		_ = server.Signal(unix.SIGUSR1)
		for _, page := range []string{"/readyz", "/livez", "/metrics"} {
			if err := s.probe(page); err != nil {
				select {
				case <-quit:
				default:
					s.t.Error(err)
				}
			}
		}
	})
	const orders = 150 // of each client, until the kill
	var count atomic.Int64
	var all sync.WaitGroup
	enough := make(chan struct{})
	for i, c := range traders {
		all.Go(func() {
			for n := 0; ; n++ {
				o := trade.Order{Instrument: uint32(1 + i), Side: orderbook.Buy, Price: 100, Quantity: 1}
				r, err := c.New(context.Background(), o)
				if err != nil {
					if count.Load() < int64(places*orders) {
						s.t.Errorf("client %d, order %d: %v", i, n, err)
					}
					return
				}
				s.acked[i] = append(s.acked[i], r.ID)
				if count.Add(1) == int64(places*orders) {
					close(enough)
				}
			}
		})
	}
	select {
	case <-enough:
	case err := <-ended:
		s.t.Errorf("the server ended: %v", err)
		ended <- err
	case <-time.After(patience):
		s.t.Errorf("%d of %d orders are acknowledged", count.Load(), places*orders)
	}
	if len(ended) > 0 {
		s.t.Error("the server has ended")
	}
	close(quit)
	_ = server.Kill() // fails if it has ended, which was noticed
	for _, c := range traders {
		defer c.Close()
	}
	<-ended
	all.Wait()
	beside.Wait()
	for i := range s.acked {
		acked += len(s.acked[i])
	}
	return acked
}

// trader connects a client, which has a place.
func (s *starved) trader(i int) *trade.Client {
	s.t.Helper()
	c, err := trade.Open(trade.Options{Account: uint64(i + 1), Session: client.SessionOptions{
		Conn: client.Options{Key: s.key}, DialTimeout: patience, Once: true}}, s.socket())
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if _, err := c.Ready(ctx); err != nil {
		s.t.Fatalf("client %d with %d descriptors: %v\n%s", i, s.limit, err, s.log.Bytes())
	}
	return c
}

// audit restarts the server and looks for every acknowledged order.
func (s *starved) audit() {
	s.t.Helper()
	server, ended := s.start()
	for i, ids := range s.acked {
		if len(ids) == 0 {
			continue
		}
		c := s.trader(i)
		open, err := c.OpenOrders(s.t.Context())
		c.Close()
		if err != nil {
			s.t.Fatal(err)
		}
		found := map[uint64]bool{}
		for _, o := range open {
			found[o.ClientOrderID] = true
		}
		for _, id := range ids {
			if !found[id] {
				s.t.Errorf("account %d: order %d was acknowledged, and is gone", i+1, id)
			}
		}
	}
	_ = server.Signal(unix.SIGTERM)
	if err := <-ended; err != nil {
		s.t.Errorf("the end: %v", err)
	}
}
