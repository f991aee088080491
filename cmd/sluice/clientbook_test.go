//go:build linux

package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"sluice/transport/client"
	"sluice/transport/wire"
)

func fill(t *testing.T, address string) {
	t.Helper()
	for _, order := range []string{"sell 3 10 @ 101", "sell 3 25 @ 103", "buy 3 7 @ 99", "buy 3 1 @ 99", "sell 4 5 @ 7"} {
		expect(t, address, 0, order, "accepted")
	}
}

func TestBookIsPrintedOnce(t *testing.T) {
	_, address := serving(t, t.TempDir())
	out, code := ask(t, address, "", "book", "3", "--once")
	want := "instrument 3\n  orders       quantity          price\n                     the book is empty\n"
	if code != 0 || out != want {
		t.Errorf("exit code %d:\n%s\nwant\n%s", code, out, want)
	}
	fill(t, address)
	expect(t, address, 0, "buy 3 4 @ 101 --account 2", "fill")
	want = `instrument 3  after event N
  orders       quantity          price
       1             25            103  ask ####################
       1              6            101  ask ####
                              spread 2
       2              8             99  bid ######
`
	numbers := regexp.MustCompile(`(event |"seq":)\d+`)
	out, code = ask(t, address, "", "book", "3", "--once")
	if out = numbers.ReplaceAllString(out, "${1}N"); code != 0 || out != want {
		t.Errorf("exit code %d:\n%s\nwant\n%s", code, out, want)
	}
	out, _ = ask(t, address, "", "book", "3", "--once", "--json")
	out = numbers.ReplaceAllString(out, "${1}N")
	want = `{"asks":[{"orders":1,"price":101,"quantity":6},{"orders":1,"price":103,"quantity":25}],` +
		`"bids":[{"orders":2,"price":99,"quantity":8}],"instrument":3,"seq":N,"type":"book"}` + "\n"
	if out != want {
		t.Errorf("%s, want %s", out, want)
	}
}

// Without a terminal there is a line for each change. After a restart of the server, the book is told
// again, and trades that this client did not observe are reported.
func TestBookAndTradesAreFollowedOverARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	address := freeAddress(t) // which the server takes again
	p := start(t, "serve", "--data-dir", dir, "--listen-tcp", address, "--admin-address", "127.0.0.1:0")
	p.address()
	fill(t, address)
	book := start(t, "client", "--address", address, "book", "3")
	book.out.await(t, "snapshot   instrument 3: these are all price levels")
	book.out.await(t, "level      instrument 3: bid 99: 8 in 2 orders, event")
	trades := start(t, "client", "--address", address, "trades", "3", "4")
	trades.err.await(t, "trades at "+address)
	expect(t, address, 0, "buy 3 4 @ 101 --account 2", "fill")
	trades.out.await(t, "trade      instrument 3: 4 @ 101  buy, trade ")
	book.out.await(t, "instrument 3: ask 101: 6 in 1 order")
	expect(t, address, 0, "buy 4 5 @ 7 --account 2", "fill")
	trades.out.await(t, "trade      instrument 4: 5 @ 7  buy, trade ")

	p.signal(syscall.SIGTERM)
	if code := p.code(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	book.out.await(t, "lost       client: the server closed the connection: shutdown")
	start(t, "serve", "--data-dir", dir, "--listen-tcp", address, "--admin-address", "127.0.0.1:0").address()
	book.out.await(t, "connected  to "+address+" again")
	book.out.awaitTimes(t, "snapshot   instrument 3", 2)
	trades.out.await(t, "missed     instrument 3: any number of trades, because the server was restarted")
	expect(t, address, 0, "sell 3 2 @ 200", "accepted")
	book.out.await(t, "level      instrument 3: ask 200: 2 in 1 order")
}

func TestMistypedTopicsAreRejected(t *testing.T) {
	for request, want := range map[string]string{
		"book":            "book: INSTRUMENT is missing",
		"book 3 4":        `book: unexpected argument "4"`,
		"book x":          `book: INSTRUMENT is "x"`,
		"trades":          "trades: INSTRUMENT is missing",
		"trades 3 -4":     `trades: INSTRUMENT is "-4"`,
		"trades 3 --once": "--once is for `sluice client book INSTRUMENT`",
		"top 3 --once":    "--once is for `sluice client book INSTRUMENT`",
	} {
		if out, code := ask(t, "127.0.0.1:1", "", strings.Fields(request)...); code != 64 || !strings.Contains(out, want) {
			t.Errorf("%s: exit code %d, want %q:\n%s", request, code, want, out)
		}
	}
}

func TestSubscriptionsAboveTheLimitAreExplained(t *testing.T) {
	_, address := serving(t, t.TempDir(), "--max-subscriptions", "1")
	out, code := ask(t, address, "", "trades", "3", "4")
	if code != 1 || !strings.Contains(out, "raise its --max-topics or --max-subscriptions") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestLadderIsDrawnOnATerminal(t *testing.T) {
	_, address := serving(t, t.TempDir())
	fill(t, address)
	m := onTerminal(t, 60, 12, "client", "--address", address, "book", "3")
	shows := func(want ...string) {
		t.Helper()
		until(t, fmt.Sprint(want), func() error {
			all := m.frames()
			if len(all) == 0 {
				return fmt.Errorf("no frame: %q", m.out)
			}
			last := strings.Join(all[len(all)-1], "\n")
			for _, w := range want {
				if !strings.Contains(last, w) {
					return fmt.Errorf("the last frame is\n%s", last)
				}
			}
			if columns, rows := size(all[len(all)-1]); columns > 60 || rows > 12 {
				return fmt.Errorf("%d by %d:\n%s", columns, rows, last)
			}
			return nil
		})
	}
	shows("instrument 3", "10            101  ask", "8             99  bid", "spread 2", address)
	for price := range 6 {
		expect(t, address, 0, fmt.Sprintf("buy 3 1 @ %d", 80+price), "accepted")
	}
	shows("1             85  bid", "4 more  bid")
	m.resize(60, 10)
	shows("5 more  bid")
	m.resize(60, 12)
	if _, err := m.file.WriteString("q"); err != nil {
		t.Fatal(err)
	}
	m.out.await(t, giveBack)
	if err := m.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestUnknownRefusalsOfTopicsAreNamed(t *testing.T) {
	c := &clientConfig{Address: "a:1"}
	for reason, want := range map[wire.Refusal]string{1: "has no topics", 3: "role not permitted",
		6: "no such topic", 99: "reason 99"} {
		err := c.unfollowed(&client.RefusedError{Reason: reason})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", reason, err, want)
		}
	}
}
