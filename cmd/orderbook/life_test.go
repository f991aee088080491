package orderbook

import (
	"bytes"
	"reflect"
	"testing"

	"sluice/actors/sequencer"
)

// lifeScripts are about expiry, connections and self-trades.
var lifeScripts = []script{
	{"an order expires at its expiry", Config{},
		`at 5: c1 a1 sell 5@100 until 10
		at 10: tick`,
		[]string{"c1 a1#1 cancelled 5 by 0: expired"}},
	{"an order does not expire before its expiry", Config{},
		`at 5: c1 a1 sell 5@100 until 10
		at 9: c2 a2 buy 5@100`,
		[]string{"c2 a2#1 accepted as 2", "c1 a1#1 sold 5@100 resting, open 0",
			"c2 a2#1 bought 5@100 taking, open 0"}},
	{"an expired order does not trade, even if no tick came", Config{},
		`at 5: c1 a1 sell 5@100 until 10
		at 10: c2 a2 buy 5@100`,
		[]string{"c1 a1#1 cancelled 5 by 0: expired", "c2 a2#1 accepted as 2"}},
	{"orders expire in the order of expiry, then of order id", Config{},
		`at 5: c1 a1 sell 1@100 until 12
		c2 a2 sell 2@100 until 10
		c3 a3 sell 3@99 until 12
		c4 a4 buy 4@1 until 11
		c5 a5 buy 4@1 until 13
		at 12: c9 a9 buy 1@2`,
		[]string{"c2 a2#1 cancelled 2 by 0: expired", "c4 a4#1 cancelled 4 by 0: expired",
			"c1 a1#1 cancelled 1 by 0: expired", "c3 a3#1 cancelled 3 by 0: expired",
			"c9 a9#1 accepted as 6"}},
	{"an order whose expiry is the time of its event is rejected", Config{},
		`at 10: c1 a1 sell 5@100 until 10`,
		[]string{"c1 a1#1 rejected: the expiry is not in the future"}},
	{"an order whose expiry follows its event is accepted", Config{},
		`at 9: c1 a1 sell 5@100 until 10`,
		[]string{"c1 a1#1 accepted as 1"}},
	{"a bad quantity is reported before a bad expiry", Config{},
		`at 10: c1 a1 sell 0@100 until 10`,
		[]string{"c1 a1#1 rejected: quantity is zero or above the limit"}},
	{"a bad expiry is reported before a full book", Config{MaxOrders: 1},
		`at 10: c1 a1 sell 1@100
		c1 a1 sell 1@100 until 10`,
		[]string{"c1 a1#2 rejected: the expiry is not in the future"}},
	{"an expired order makes room for the order of the event", Config{MaxOrders: 1},
		`at 5: c1 a1 sell 5@100 until 10
		at 10: c2 a2 sell 5@100`,
		[]string{"c1 a1#1 cancelled 5 by 0: expired", "c2 a2#1 accepted as 2"}},
	{"a replaced order keeps its expiry", Config{},
		`at 5: c1 a1 sell 5@100 until 10
		c2 a1 replace 1 7@101
		at 10: tick`,
		[]string{"c2 a1#1 cancelled 7 by 0: expired"}},
	{"a good-till-date order that trades in full does not expire", Config{},
		`at 5: c1 a1 sell 5@100
		c2 a2 buy 5@100 until 10
		at 10: tick`,
		nil},

	{"the setting is confirmed", Config{}, `c1 setting on`, []string{"c1 setting true"}},
	{"without the setting orders outlive their connection", Config{},
		`c1 a1 sell 5@100
		c1 gone`,
		nil},
	{"the orders of a connection with the setting are cancelled by order id", Config{},
		`c1 a1 sell 5@100
		c1 a2 buy 6@1
		c2 a1 sell 7@100
		c1 setting on
		c1 a1 replace 1 8@101
		c1 gone`,
		[]string{"c1 a1#1 cancelled 8 by 0: its connection ended",
			"c1 a2#1 cancelled 6 by 0: its connection ended"}},
	{"the setting can be turned off", Config{},
		`c1 a1 sell 5@100
		c1 setting on
		c1 setting off
		c1 gone`,
		nil},
	{"a replace moves the order to another connection", Config{},
		`c1 setting on
		c1 a1 sell 5@100
		c2 a1 replace 1 5@100
		c1 gone`,
		nil},
	{"a replace moves the order to a connection with the setting", Config{},
		`c2 setting on
		c1 a1 sell 5@100
		c2 a1 replace 1 6@100
		c2 gone`,
		[]string{"c2 a1#1 cancelled 6 by 0: its connection ended"}},
	{"the setting ends with the connection", Config{},
		`c1 setting on
		c1 gone
		c1 a1 sell 5@100
		c1 gone`,
		nil},
	{"an order that expires at the end of its connection has expired", Config{},
		`at 5: c1 setting on
		c1 a1 sell 5@100 until 10
		at 10: c1 gone`,
		[]string{"c1 a1#1 cancelled 5 by 0: expired"}},

	{"a self-trade on one connection is reported once", Config{},
		`c1 a1 sell 5@100
		c1 a1 buy 5@100`,
		[]string{"c1 a1#2 accepted as 2", "c1 a1#1 cancelled 5 by 0: self-trade prevention"}},
}

// The setting, times and histories are part of a snapshot: a restored book cancels and answers as
// the original would.
func TestRestoredBookKeepsSettingsAndExpiries(t *testing.T) {
	b := mustNew(t, Config{})
	play(t, b, `at 5: c1 setting on
		c1 a1 sell 5@100
		c2 a2 sell 5@100 until 10
		c3 a3 buy 1@100`)
	again := mustNew(t, Config{})
	if err := again.Restore(bytes.NewReader(snapshot(t, b))); err != nil {
		t.Fatal(err)
	}
	if again.NextTick() != 10 {
		t.Errorf("the next tick of the restored book is %d, want 10", again.NextTick())
	}
	for _, ev := range []*sequencer.Event{
		{Kind: sequencer.KindDisconnected, Seq: 9, Time: 9, Conn: 1},
		{Kind: sequencer.KindTick, Seq: 10, Time: 10},
	} {
		got, want := deliver(t, again, ev), deliver(t, b, ev)
		if len(want) != 1 || !reflect.DeepEqual(got, want) {
			t.Errorf("%v: the restored book has %+v, the original %+v", ev.Kind, got, want)
		}
	}
	for _, c := range []Command{{Tag: TagQueryOutcome, Account: 1, ClientOrderID: 1},
		{Tag: TagQueryFills, Account: 3, Limit: 1}} {
		got, want := do(t, again, 0, 7, c), do(t, b, 0, 7, c)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v: the restored book answers %+v, the original %+v", c, got, want)
		}
	}
}

// The last 1,024 outcomes and fills are kept, not one less and not one more.
func TestHistoryKeepsTheLast1024(t *testing.T) {
	d := newDriver(t)
	rest := gtc(1, Sell, 100, 1<<30)
	d.do(&rest)
	const kept = 1024
	for range 2 * kept {
		take := gtc(2, Buy, 100, 1)
		d.do(&take)
	}
	first := rest.ClientOrderID
	status := func(account, id uint64) Status {
		out := do(t, d.book, 0, 1, Command{Tag: TagQueryOutcome, Account: account, ClientOrderID: id})
		return out[0].answer.(Outcome).Status
	}
	last := d.seq
	for id, want := range map[uint64]Status{last + 1: StatusUnknown, last: StatusAccepted,
		last - kept + 1: StatusAccepted, last - kept: StatusTooOld, first: StatusTooOld} {
		if got := status(2, id); got != want {
			t.Errorf("command %d of %d is %v, want %v", id, last, got, want)
		}
	}
	if got := status(1, first-1); first > 1 && got != StatusNotUsed {
		t.Errorf("a command that was left out is %v", got)
	}
	fills := func(after uint64, trade uint32) (all []Report, end Fills) {
		c := Command{Tag: TagQueryFills, Account: 2, After: after, Trade: trade, Limit: MaxPage}
		for {
			out := do(t, d.book, 0, 1, c)
			for _, o := range out[:len(out)-1] {
				all = append(all, o.answer.(Report))
			}
			page := out[len(out)-1].answer.(Fills)
			end.Dropped = end.Dropped || page.Dropped
			if !page.More {
				return all, end
			}
			c.After, c.Trade = all[len(all)-1].Seq, all[len(all)-1].Trade
		}
	}
	all, end := fills(0, 0)
	if len(all) != kept || !end.Dropped || all[0].Seq != last-kept+1 || all[kept-1].Seq != last {
		t.Errorf("%d fills, dropped %t, from event %d", len(all), end.Dropped, all[0].Seq)
	}
	if _, end := fills(last-kept, 0); !end.Dropped {
		t.Error("the last dropped fill is asked for, and the answer does not say that it is gone")
	}
	if _, end := fills(last-kept, 1); end.Dropped {
		t.Error("the fill after the last dropped one is asked for, and the answer says that some are gone")
	}
}

// A list of open orders skips what has left, and its memory follows the open orders.
func TestOpenOrdersArePagedByOrderID(t *testing.T) {
	d := newDriver(t)
	var ids []uint64
	for i := range 3000 {
		c := gtc(1, Buy, int64(i%50), 1)
		d.do(&c)
		ids = append(ids, d.seq)
	}
	live := map[uint64]bool{}
	for i, id := range ids {
		live[id] = true
		if i%7 != 0 && (i < 1000 || i > 1500) { // long gaps, and one long run
			c := Command{Tag: TagCancel, Account: 1, Target: id}
			d.do(&c)
			delete(live, id)
		}
	}
	for _, limit := range []uint16{1, 7, MaxPage} {
		after, count, more := uint64(0), 0, true
		for more {
			out := do(t, d.book, 0, 1, Command{Tag: TagQueryOpenOrders, Account: 1, After: after, Limit: limit})
			for _, o := range out[:len(out)-1] {
				id := o.answer.(OpenOrder).OrderID
				if !live[id] || id <= after {
					t.Fatalf("order %d after %d is open: %t", id, after, live[id])
				}
				after = id
				count++
			}
			end := out[len(out)-1].answer.(OpenOrders)
			if more = end.More; int(end.Count) != len(out)-1 || more && end.Count != uint32(limit) {
				t.Fatalf("a page of %d frames ends with %+v", len(out), end)
			}
		}
		if count != len(live) {
			t.Errorf("pages of %d have %d orders, want %d", limit, count, len(live))
		}
	}
	if err := audit(d.book); err != nil {
		t.Error(err)
	}
}
