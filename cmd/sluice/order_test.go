package main

import (
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/cmd/orderbook"
)

func TestRequestsAreParsedAndDescribedInTheSameWords(t *testing.T) {
	for _, text := range []string{
		"buy 3 10 @ 101", "sell 3 10 @ -5 ioc", "buy 0 1", "cancel 7", "replace 7 12 @ 102",
		"sell 3 10 @ 101 until 2026-12-01T10:00:00Z", "buy 1 1 @ 1 until 2026-12-01T10:00:00.000000001Z",
		"top 3", "position 4294967295", "orders", "outcome 9", "fills", "fills since 20",
		"limits", "limits orders 2000000", "limits instruments 2048 levels 8192", "cancel-on-disconnect on",
		"cancel-on-disconnect off",
	} {
		c, err := parseOrder(strings.Fields(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := c.String(); got != text {
			t.Errorf("%s is described as %s", text, got)
		}
		frame, err := orderbook.AppendRequest(nil, 1, &c)
		if err == nil {
			err = orderbook.DecodeRequest(frame[12], frame[13:], &c)
		}
		if err != nil {
			t.Errorf("%s is malformed: %v", text, err)
		}
	}
}

func TestRelativeExpiryIsFromNow(t *testing.T) {
	before := time.Now().Add(30 * time.Second).UnixNano()
	c, err := parseOrder(strings.Fields("buy 3 10 @ 101 for 30s"))
	if err != nil || c.TimeInForce != orderbook.GoodTillDate || c.Expiry < before ||
		c.Expiry > time.Now().Add(30*time.Second).UnixNano() {
		t.Errorf("order is %+v, error %v", c, err)
	}
}

func TestMistypedRequestsAreRejectedWithARemedy(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "name a request",
		"sell 3 x":                     `QUANTITY is "x"; write a whole number from 1 to`,
		"sell 3 0 @ 5":                 `QUANTITY is "0"; write a whole number from 1 to`,
		"buy x 1":                      `INSTRUMENT is "x"; write a whole number from 0 to 4294967295`,
		"cancel 0":                     `ID is "0"; write a whole number from 1`,
		"buy 3 1 @ 5 until tomorrow":   `TIME is "tomorrow"; write a time such as`,
		"buy 3 1 @ 5 until":            "TIME is missing",
		"buy 3 1 @ 5 for 0s":           `DURATION is "0s"; write one such as 30s`,
		"buy 3 1 until 2026-12-01":     "write a price after @",
		"cancel-on-disconnect":         "write on or off",
		"cancel-on-disconnect maybe":   "write on or off",
		"limits ordres 3":              `no limit "ordres"; write one of instruments, accounts, positions, orders, levels`,
		"limits orders":                "orders is missing",
		"limits orders 0":              `orders is "0"; write a whole number from 1 to`,
		"fills from 3":                 `unexpected argument "from 3"`,
		"ordres":                       `did you mean`,
		"replace 3 10":                 "write the new price after @",
		"buy 3 1 @ 5 ioc until 3 days": "unexpected argument",
	} {
		if _, err := parseOrder(strings.Fields(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error is %v, want %q in it", text, err, want)
		}
	}
}

// Several commands at once for one account each get an id of their own.
func TestOrdersAtTheSameTimeAreAllExecuted(t *testing.T) {
	_, address := serving(t, t.TempDir())
	const clients = 8
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			if out, code := ask(t, address, "", "buy", "1", "1", "@", "5"); code != 0 ||
				strings.Contains(out, "rejected") || strings.Count(out, "accepted") != 1 {
				t.Errorf("exit code %d:\n%s", code, out)
			}
		})
	}
	all.Wait()
	expect(t, address, 0, "top 1", "8 @ 5 (8 orders)")
	expect(t, address, 1, "buy 1 1 @ 5 --id 3", "rejected") // the operator's own id is sent once
}
