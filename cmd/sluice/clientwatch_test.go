package main

import (
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// watcher is `sluice client watch` in this process.
type watcher struct {
	t     *testing.T
	input *io.PipeWriter
	out   *output // standard output and standard error
	code  chan int
}

func watchServer(t *testing.T, address string, flags ...string) *watcher {
	t.Helper()
	in, input := io.Pipe()
	w := &watcher{t: t, input: input, out: newOutput(), code: make(chan int, 1)}
	args := append([]string{"client", "watch", "--address", address}, flags...)
	go func() { w.code <- run(&env{stdin: in, stdout: w.out, stderr: w.out}, args) }()
	t.Cleanup(func() { input.Close() })
	w.out.await(t, "type help")
	return w
}

func (w *watcher) types(line string) {
	w.t.Helper()
	if _, err := io.WriteString(w.input, line+"\n"); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watcher) ends(want int, words ...string) {
	w.t.Helper()
	if got := <-w.code; got != want {
		w.t.Errorf("exit code %d, want %d:\n%s", got, want, w.out)
	}
	for _, word := range words {
		if !strings.Contains(w.out.String(), word) {
			w.t.Errorf("%q is not in the output:\n%s", word, w.out)
		}
	}
}

func TestWatchReconnectsAfterRestartOfTheServer(t *testing.T) {
	dir, socket := t.TempDir(), filepath.Join(t.TempDir(), "s")
	p, _ := serving(t, dir, "--listen-unix", socket)
	w := watchServer(t, socket)
	w.types("buy 1 5 @ 100")
	w.out.await(t, "completed in")
	p.signal(syscall.SIGTERM)
	p.ends(0)
	w.out.await(t, "lost       client: the server closed the connection: shutdown")

	p, _ = serving(t, dir, "--listen-unix", socket)
	w.out.await(t, "connected  to "+socket+" again")
	w.types("top 1")
	w.out.await(t, "bid 5 @ 100")
	w.types("buy 1 1 @ 99")
	w.out.await(t, "accepted   #2")
	p.signal(syscall.SIGKILL)
	p.code()
	w.out.awaitTimes(t, "lost  ", 2)
	w.types("quit")
	w.ends(exitOK)
}

func TestWatchPrintsFillsOfRestingOrders(t *testing.T) {
	_, address := serving(t, t.TempDir())
	w := watchServer(t, address)
	w.types("sell 1 5 @ 100")
	w.out.await(t, "completed in")
	expect(t, address, 0, "buy 1 2 @ 100 --account 2", "bought      2 @ 100")
	w.out.await(t, "sold        2 @ 100           3 open")
	w.types("position 1")
	w.out.await(t, "net -2")
	w.types("quit")
	w.ends(exitOK)
}

func TestWatchEndsWhenItIsKicked(t *testing.T) {
	admin := filepath.Join(t.TempDir(), "a")
	_, address := serving(t, t.TempDir(), "--admin-socket", admin)
	w := watchServer(t, address)
	list, problems, code := local("admin", "connections", "--json", "--admin-socket", admin)
	id := regexp.MustCompile(`"id": ?"?(\d+)`).FindStringSubmatch(list)
	if code != 0 || id == nil {
		t.Fatalf("%d %s%s", code, list, problems)
	}
	if _, problems, code := local("admin", "kick", id[1], "--admin-socket", admin); code != 0 {
		t.Fatal(problems)
	}
	w.ends(exitFailure, "closed the connection: kicked: an operator ended this connection")
	if strings.Contains(w.out.String(), "admit") {
		t.Errorf("a client that was admitted is told that it is not:\n%s", w.out)
	}
}

// follower is a server that does not lead, and says where the leader is. It asks for a key if it is
// given the line of one.
func follower(t *testing.T, leader, line string) (address string) {
	t.Helper()
	cfg := listen.Config{Endpoints: []listen.Endpoint{{Network: "tcp", Address: "127.0.0.1:0", Open: line == ""}},
		Direct: func() (string, bool) { return leader, true }}
	var err error
	if line != "" {
		cfg.Keys, err = listen.ParseKeys("keys", strings.NewReader(line))
	}
	var s *listen.Server
	if err == nil {
		s, err = listen.New(cfg, unreached{})
	}
	if err == nil {
		err = s.Listen()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Serve()
	t.Cleanup(func() { s.Close() })
	return s.Addresses()[0]
}

// unreached is the Handler of a server that directs every client.
type unreached struct{}

func (unreached) Connect(listen.Conn) error                        { return errors.New("not the leader") }
func (unreached) Request(listen.Conn, wire.Request) error          { return errors.New("not the leader") }
func (unreached) Shed(listen.Conn, []uint64)                       {}
func (unreached) Disconnect(listen.Conn, uint64, transport.Reason) {}

func TestClientGoesToTheLeaderAndSaysSo(t *testing.T) {
	_, leader := serving(t, t.TempDir())
	other := follower(t, leader, "")
	told := other + " does not lead; going to " + leader
	out, problems, code := local("client", "buy", "1", "5", "@", "100", "--address", other)
	if code != exitOK || !strings.Contains(out, "accepted") || strings.TrimSpace(problems) != told {
		t.Errorf("%d: %s%s", code, out, problems)
	}
	w := watchServer(t, other)
	w.types("top 1")
	w.out.await(t, "bid 5 @ 100")
	w.types("quit")
	w.ends(exitOK, "directed   "+told+" in 0s", "connected to "+leader+" as account 1")

	_, problems, code = local("client", "top", "1", "--address", follower(t, "", ""))
	if code != exitFailure || !strings.Contains(problems, "not_leader: another server of its cluster leads, or none does") {
		t.Errorf("without a leader: %d: %s", code, problems)
	}
	// A command of an operator is for the server named, not for the leader.
	key := filepath.Join(t.TempDir(), "operator")
	line, _, _ := local("client", "keygen", key, "operator")
	_, problems, code = local("admin", "--address", follower(t, leader, line), "--key", key, "status")
	if code != exitFailure || !strings.Contains(problems, "not_leader (go to") {
		t.Errorf("admin at a follower: %d: %s", code, problems)
	}
}

// Each reason for which a server closes a connection has a remedy of its own.
func TestEveryCloseReasonHasARemedy(t *testing.T) {
	c, seen := &clientConfig{Address: "a:1"}, map[string]wire.CloseReason{}
	for reason := range wire.CloseReason(255) {
		if strings.HasPrefix(reason.String(), "reason") {
			continue // it has no name
		}
		text := remedy(reason)
		if other, taken := seen[text]; taken || !strings.Contains(text, "; ") ||
			strings.Contains(text, "does not know the reason") {
			t.Errorf("%v, like %v: %q", reason, other, text)
		}
		seen[text] = reason
		err := c.unconnected(&client.CloseError{Close: wire.Close{Reason: reason}})
		if want := reason.String() + ": " + text; reason != wire.CloseUnauthorized &&
			!strings.HasSuffix(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	if len(seen) != 14 || remedy(99) != remedy(0) {
		t.Errorf("%d reasons; unknown ones: %q, %q", len(seen), remedy(99), remedy(0))
	}
}

func TestWatchCountsRequestsWithoutResponse(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	admin := filepath.Join(t.TempDir(), "a")
	p, _ := serving(t, t.TempDir(), "--listen-unix", socket, "--admin-socket", admin)
	w := watchServer(t, socket)
	w.types("buy 1 5 @ 100")
	w.out.await(t, "completed in")
	// No replica exists, so no response leaves any more.
	if _, problems, code := local("admin", "policy", "hybrid", "--force", "--admin-socket", admin); code != 0 {
		t.Fatal(problems)
	}
	w.types("buy 1 5 @ 100")
	awaitEvents(t, p, 2)
	out, code := ask(t, socket, "", "buy", "1", "5", "--timeout", "5s")
	if want := "the order was not sent: the server did not return the last id of account 1 within 5s"; code != 1 ||
		!strings.Contains(out, want) {
		t.Errorf("behind a shut gate: exit code %d, %s", code, out)
	}
	p.signal(syscall.SIGKILL)
	p.code()
	w.out.await(t, "unknown    #2")
	w.types("quit")
	w.ends(exitFailure, "1 request got no response", "outcome ID")
}
