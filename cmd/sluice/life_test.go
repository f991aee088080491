package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/cmd/orderbook"
)

// A kill ends the connections of a server. Their ends are journaled at the next start, before the
// first client is admitted, so no order of a connection with cancel on disconnect is left.
func TestOrdersOfAConnectionAreCancelledAfterAKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p, address := serving(t, dir)
	leaves, stays := trading(t, address, 0), trading(t, address, 1)
	leaves.command(&orderbook.Command{Tag: orderbook.TagSetCancelOnDisconnect, On: true})
	leaves.rests(3)
	leaves.settle()
	stays.rests(1)
	stays.settle()
	p.signal(syscall.SIGKILL)
	p.code()

	p, address = serving(t, dir)
	expect(t, address, 0, "top 1", "bid none")
	expect(t, address, 0, "top 3", "bid 1 @ 1 (1 order)")
	expect(t, address, 0, "orders --account 1", "0 open orders")
	expect(t, address, 0, "outcome 3 --account 1", "accepted, event")
	p.signal(syscall.SIGTERM)
	p.ends(0)
}

func TestOrdersOfAConnectionAreCancelledWhenItEnds(t *testing.T) {
	_, address := serving(t, filepath.Join(t.TempDir(), "data"))
	out, code := ask(t, address, "cancel-on-disconnect on\nbuy 1 5 @ 7\norders\n", "watch")
	if code != 0 {
		t.Fatal(out)
	}
	expect(t, address, 0, "buy 2 5 @ 7", "accepted")
	// The server may learn of the end of a connection after it has admitted the next one.
	limit := time.Now().Add(patience)
	for out := ""; !strings.Contains(out, "1 open order\n") || !strings.Contains(out, "instrument 2"); {
		if time.Now().After(limit) {
			t.Fatalf("the order of the connection is still open:\n%s", out)
		}
		out, _ = ask(t, address, "", "orders")
	}
}

// No client sends anything, so only a tick can expire the order.
func TestOrderExpiresWithoutTraffic(t *testing.T) {
	_, address := serving(t, filepath.Join(t.TempDir(), "data"))
	r := trading(t, address, 0)
	order := r.order(r.account, orderbook.Buy, 1)
	order.ClientOrderID = 1
	expiry := time.Now().Add(3 * time.Second) // it must not expire on its way
	order.TimeInForce, order.Expiry = orderbook.GoodTillDate, expiry.UnixNano()
	r.command(order)
	r.flush()
	r.settle()
	if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	tag, body, err := r.Next()
	var report orderbook.Report
	if err == nil {
		err = orderbook.DecodeReport(tag, body, &report)
	}
	if err != nil || report.Reason != orderbook.Expired || report.OrderID == 0 ||
		time.Now().Before(expiry) {
		t.Errorf("%v before the expiry: tag 0x%02x, %+v, %v", time.Until(expiry), tag, report, err)
	}
}

// The README's first orders must trade with each other.
func TestFirstExampleOfTheREADMETrades(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, address := serving(t, filepath.Join(t.TempDir(), "data"))
	var said strings.Builder
	for line := range strings.Lines(string(page)) {
		request, found := strings.CutPrefix(line, "bin/sluice client ")
		if !found { // of the package
			request, found = strings.CutPrefix(line, "sudo -u sluice sluice client --address /run/sluice/clients ")
		}
		request, _, _ = strings.Cut(request, "#")
		if !found || !strings.Contains(request, " buy ") && !strings.Contains(request, " sell ") { // others go on
			continue
		}
		out, code := ask(t, address, "", strings.Fields(request)...)
		if code != 0 {
			t.Errorf("%s: exit code %d", request, code)
		}
		said.WriteString(out)
	}
	if strings.Count(said.String(), "bought     10 @ 101") != 2 {
		t.Errorf("the two examples do not trade:\n%s", &said)
	}
}

func TestClientPrintsAllPages(t *testing.T) {
	_, address := serving(t, filepath.Join(t.TempDir(), "data"))
	r := trading(t, address, 0)
	r.rests(orderbook.MaxPage + 3)
	r.settle()
	expect(t, address, 0, "orders", "#1 ", "256 open orders, more follow", "#259 ", "after event", ": 3 open orders")
	out, code := ask(t, address, "", "sell", "1", "258", "@", "1", "--account", "2", "--id", "9")
	if code != 0 {
		t.Fatal(out)
	}
	expect(t, address, 0, "fills --account 2", "256 fills, more follow", ": 2 fills", "past fill")
	out, code = ask(t, address, "fills since 1\n", "watch")
	if code != 0 || !strings.Contains(out, "256 fills, more follow") || !strings.Contains(out, ": 2 fills") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	expect(t, address, 64, "cancel-on-disconnect on", "write it in `sluice client watch`")
}

// What is used of the limits is shown to everybody; a trader raises none.
func TestClientShowsLimits(t *testing.T) {
	_, address := serving(t, filepath.Join(t.TempDir(), "data"))
	expect(t, address, 0, "buy 3 10 @ 101", "accepted")
	expect(t, address, 0, "limits", "orders                1 of 1048576 used after event",
		"levels                1 of 4096 used")
	expect(t, address, 1, "limits orders 2000000", "role")
}

func TestSelfTradeIsExplained(t *testing.T) {
	_, address := serving(t, filepath.Join(t.TempDir(), "data"))
	expect(t, address, 0, "sell 3 10 @ 101", "accepted")
	expect(t, address, 0, "buy 3 10 @ 101", "accepted   #2", "cancelled  #1",
		"account 1 would have traded with itself; trade with another account, see --account")
}
