package node

import (
	"crypto/ed25519"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"sluice/cmd/orderbook"
	"sluice/telemetry"
	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/wire"
)

// limited reports whether a client was rejected for a limit.
func limited(err error) bool {
	var closed *client.CloseError
	return errors.As(err, &closed) && closed.Reason == wire.CloseLimit
}

// A key has no more connections than its line says, and gets places back when they end. Others are not
// affected.
func TestConnectionsOfKeyAreBounded(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		k := serveKeyed(t, mode, io.Discard, "trader anna connections=2", "trader ben")
		one, two := k.trader("anna"), k.trader("anna")
		for range 3 {
			if _, err := k.connect("anna"); !limited(err) {
				t.Fatalf("a third connection: %v", err)
			}
			k.trader("ben")
		}
		if n := k.node.Listener().Counters().Ended[transport.ReasonKeyLimit]; n != 3 {
			t.Errorf("%d refusals are counted", n)
		}
		one.conn.Close()
		until(t, "a place for another connection", func() bool {
			three, err := k.connect("anna")
			if err != nil && !limited(err) {
				t.Fatal(err)
			}
			return three != nil
		})
		two.command(position(1))
		two.expect("position seq=0 net=0 last=0 accepted=0", "end")
		if changes := k.reload("trader anna connections=3", "trader ben"); changes.Closed != 0 {
			t.Errorf("another limit: %s", changes)
		}
		k.trader("anna")
		if _, err := k.connect("anna"); !limited(err) {
			t.Errorf("a connection above the new limit: %v", err)
		}
		for _, use := range k.node.Keys() {
			if use.Name == "anna" && use.Open != 3 {
				t.Errorf("%d connections of anna; want 3", use.Open)
			}
		}
	})
}

// A key makes no more connections than the rate of its line permits, whether they are open or not. One that
// signs wrongly takes none of its tokens, other keys have their own, and a reload changes the rate.
func TestConnectRateOfKeyIsBounded(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		k := serveKeyed(t, mode, io.Discard, "trader anna connect-rate=0.001/3", "trader ben")
		anna := k.keys["anna"]
		wrong := append(ed25519.PrivateKey(nil), k.keys["ben"]...)
		copy(wrong[32:], anna[32:]) // it names the public key of anna
		k.keys["anna"] = wrong
		for range 5 {
			if _, err := k.connect("anna"); !errors.Is(err, client.ErrAuthFailed) {
				t.Fatalf("a wrong signature: %v", err)
			}
		}
		k.keys["anna"] = anna
		for range 3 {
			k.trader("anna").conn.Close()
		}
		if _, err := k.connect("anna"); !limited(err) {
			t.Errorf("a fourth connection: %v", err)
		}
		k.trader("ben")
		if n := k.node.Listener().Counters().Ended[transport.ReasonKeyConnectRate]; n != 1 {
			t.Errorf("%d refusals are counted", n)
		}
		if changes := k.reload("trader anna", "trader ben"); changes.Closed != 0 {
			t.Errorf("another rate: %s", changes)
		}
		k.trader("anna")
	})
}

// Traders leave some places for connections to operators.
func TestOperatorsHavePlaces(t *testing.T) {
	const most, kept = 64, 1
	k := serveKeyed(t, transport.ModePoll, io.Discard, "trader anna")
	k.cfg.Pipeline.MaxConnections = most
	k.restart()
	for range most - kept {
		k.trader("anna")
	}
	if _, err := k.connect("anna"); !limited(err) {
		t.Errorf("a trader in the place of an operator: %v", err)
	}
	k.trader("boss")
	if _, err := k.connect("boss"); !limited(err) {
		t.Errorf("more connections than there are places: %v", err)
	}
}

// An operator raises a limit of the book while it serves: what was refused is accepted from then on, also
// after a restart. Others may not, and no limit is lowered.
func TestOperatorRaisesLimitsOfTheBook(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		k := serveKeyed(t, mode, io.Discard, "trader anna")
		k.cfg.Application = func() bookApp { return newBook(orderbook.Config{MaxOrders: 2}) }
		k.cfg.DataDir = filepath.Join(t.TempDir(), "data")
		k.restart()
		anna, boss := k.trader("anna"), k.trader("boss")
		rests := func(id uint64, want string) {
			t.Helper()
			anna.command(order(1, id, orderbook.Buy, 100, 5))
			if frame := anna.next(); !strings.HasPrefix(frame, want) {
				t.Fatalf("order %d: %s; want %s", id, frame, want)
			}
			anna.expect("end")
		}
		raise := &orderbook.Command{Tag: orderbook.TagRaiseLimits, Limits: orderbook.Limits{Orders: 3}}
		rests(1, "accepted")
		rests(2, "accepted")
		rests(3, "0x31")
		before := k.node.Sequenced()
		anna.command(raise)
		anna.refused(wire.RefusalRole)
		if now := k.node.Sequenced(); now != before {
			t.Errorf("a refused request became event %d", now)
		}
		rests(4, "0x31")
		raised := func(want uint8) {
			t.Helper()
			boss.command(raise)
			if tag, _, err := boss.conn.Next(); err != nil || tag != want {
				t.Fatalf("tag 0x%02x, error %v; want 0x%02x", tag, err, want)
			}
			boss.expect("end")
		}
		raised(orderbook.TagLimitsRaised)
		rests(5, "accepted")
		rests(6, "0x31")
		raise.Limits.Orders = 2
		raised(orderbook.TagRejected)
		k.restart()
		anna, boss = k.trader("anna"), k.trader("boss")
		rests(7, "0x31")
		boss.command(&orderbook.Command{Tag: orderbook.TagQueryLimits})
		tag, body, err := boss.conn.Next()
		if err != nil {
			t.Fatal(err)
		}
		answer, err := orderbook.DecodeAnswer(tag, body)
		if use, ok := answer.(orderbook.LimitUse); !ok || use.Used.Orders != 3 || use.Limit.Orders != 3 ||
			use.Used.Accounts != 1 || use.Limit.Accounts != 1<<20 {
			t.Errorf("limits are %+v, %v", answer, err)
		}
		boss.expect("end")
		use := func(id telemetry.GaugeID) (orders float64) {
			k.node.Collector().Gauges(func(g telemetry.Gauge, v float64) {
				if g.ID == id && g.Value == "orders" {
					orders = v
				}
			})
			return orders
		}
		if used, limit := use(telemetry.ApplicationUsed), use(telemetry.ApplicationLimit); used != 3 || limit != 3 {
			t.Errorf("after a restart %v of %v orders are shown", used, limit)
		}
		raise.Limits.Orders = 4
		raised(orderbook.TagLimitsRaised)
		rests(8, "accepted")
		until(t, "what is used of the limit", func() bool {
			return use(telemetry.ApplicationUsed) == 4 && use(telemetry.ApplicationLimit) == 4
		})
	})
}

// Commands that are rejected, or that jump ahead with their ids, create no account and use up no id.
func TestRejectedCommandsCreateNothing(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		anna := serveKeyed(t, mode, io.Discard, "trader anna").trader("anna")
		rejected := func(c *orderbook.Command, want orderbook.Reason) {
			t.Helper()
			anna.command(c)
			tag, body, err := anna.conn.Next()
			var r orderbook.Report
			if err == nil {
				err = orderbook.DecodeReport(tag, body, &r)
			}
			if err != nil || tag != orderbook.TagRejected || r.Reason != want {
				t.Fatalf("%v: tag 0x%02x, %v, %v; want it rejected: %v", c, tag, r.Reason, err, want)
			}
			anna.expect("end")
		}
		for account := range uint64(20) {
			rejected(&orderbook.Command{Tag: orderbook.TagCancel, Account: account, ClientOrderID: 7, Target: 1},
				orderbook.UnknownOrder)
			rejected(order(account, 7, orderbook.Buy, 100, 0), orderbook.BadQuantity)
			rejected(order(account, 1<<32+1, orderbook.Buy, 100, 5), orderbook.TooFarAhead)
		}
		anna.command(order(3, 1, orderbook.Buy, 100, 5))
		if frame := anna.next(); !strings.HasPrefix(frame, "accepted 1") {
			t.Errorf("the first order of an account: %s", frame)
		}
		anna.expect("end")
		rejected(order(3, 1<<64-1, orderbook.Buy, 100, 5), orderbook.TooFarAhead)
		anna.command(&orderbook.Command{Tag: orderbook.TagQueryLimits})
		tag, body, err := anna.conn.Next()
		if err != nil {
			t.Fatal(err)
		}
		answer, err := orderbook.DecodeAnswer(tag, body)
		if use, ok := answer.(orderbook.LimitUse); !ok || use.Used.Accounts != 1 || use.Used.Orders != 1 {
			t.Errorf("used is %+v, %v; want one account with one order", answer, err)
		}
	})
}

// One order that meets very many others costs a bounded time: the rest of it is cancelled, and its
// trader is told.
func TestDeepMatchIsBounded(t *testing.T) {
	k := serveKeyed(t, transport.ModePoll, io.Discard, "trader anna", "trader ben")
	anna, ben := k.trader("anna"), k.trader("ben")
	const depth, most = 1100, 1000
	for id := range uint64(depth) {
		anna.command(order(1, id+1, orderbook.Sell, 100, 1))
		anna.next()
		anna.expect("end")
	}
	sweep := func(id uint64, want int, rest bool) {
		t.Helper()
		ben.command(order(2, id, orderbook.Buy, 100, depth))
		fills, cancelled := 0, false
		for {
			tag, body, err := ben.conn.Next()
			if err != nil {
				t.Fatal(err)
			}
			var r orderbook.Report
			if tag == wire.TagBatchEnd {
				break
			}
			if err := orderbook.DecodeReport(tag, body, &r); err != nil {
				t.Fatal(err)
			}
			switch tag {
			case orderbook.TagFill:
				fills++
			case orderbook.TagCancelled:
				cancelled = r.Reason == orderbook.TooDeep && r.Quantity == uint64(depth-want) && r.Command == id &&
					!r.Unasked()
			}
		}
		if fills != want || cancelled != rest {
			t.Errorf("order %d: %d fills, the rest is cancelled: %v; want %d, %v", id, fills, cancelled, want, rest)
		}
	}
	sweep(1, most, true)
	sweep(2, depth-most, false)
}

// The table of connections counts those of each key, and each way of releasing one is counted.
func TestConnectionTableCountsKeys(t *testing.T) {
	r := newClients(3)
	key := [8]byte{1}
	if !r.take(key, 1) || r.take(key, 1) || !r.take(key, 0) || !r.take([8]byte{2}, 1) || !r.take([8]byte{}, 1) {
		t.Error("places of keys")
	}
	r.give(key)
	r.give([8]byte{2})
	r.give([8]byte{})
	if len(r.open) != 1 || r.open[key] != 1 {
		t.Errorf("open %v; want one of one key", r.open)
	}
}

// A key has no more open orders than its line says, in all accounts and on all connections, also after a
// restart. Orders that cannot rest, other keys and cancels are not affected.
func TestOpenOrdersOfKeyAreBounded(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		k := serveKeyed(t, mode, io.Discard, "trader anna orders=2", "trader ben")
		one, two, ben := k.trader("anna"), k.trader("anna"), k.trader("ben")
		rests := func(c *trader, account, id uint64) {
			t.Helper()
			c.command(order(account, id, orderbook.Buy, 100, 5))
			if frame := c.next(); !strings.HasPrefix(frame, "accepted") {
				t.Fatalf("order %d of account %d: %s", id, account, frame)
			}
			c.expect("end")
		}
		refused := func(c *trader, account, id uint64) {
			t.Helper()
			c.command(order(account, id, orderbook.Buy, 100, 5))
			c.refused(wire.RefusalQuota)
		}
		rests(one, 1, 1)
		rests(two, 2, 1)
		before := k.node.Sequenced()
		refused(one, 1, 2)
		refused(two, 3, 1)
		if now := k.node.Sequenced(); now != before {
			t.Errorf("refused orders became events %d to %d", before+1, now)
		}
		rests(ben, 3, 1)
		immediate := order(1, 2, orderbook.Buy, 100, 5)
		immediate.TimeInForce = orderbook.ImmediateOrCancel
		one.command(immediate)
		if frame := one.next(); !strings.HasPrefix(frame, "accepted 2") {
			t.Errorf("an order that cannot rest: %s", frame)
		}
		one.next() // its rest is cancelled
		one.expect("end")
		k.restart()
		one = k.trader("anna")
		refused(one, 1, 3)
		one.command(&orderbook.Command{Tag: orderbook.TagCancel, Account: 1, ClientOrderID: 4, Target: 1})
		if frame := one.next(); !strings.HasPrefix(frame, "0x33 1") {
			t.Errorf("a cancel: %s", frame)
		}
		one.expect("end")
		rests(one, 1, 5)
		refused(one, 1, 6)
		k.reload("trader anna orders=3", "trader ben")
		rests(one, 1, 7)
		refused(one, 1, 8)
	})
}
