package orderbook

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"sluice/actors/sequencer"
)

// parse reads one line of a script: "connection account what ...". The client order ids of
// an account count up from 1 unless the line ends in "id N". An order may expire "until N".
// Other lines are "tick", "cN gone", "cN setting on" and "cN setting off". Any line may begin
// with "at N:", the time from then on.
func parse(t *testing.T, line string, st *stepper) {
	t.Helper()
	if at, rest, found := strings.Cut(line, ": "); found {
		scan(t, strings.TrimSpace(at), "at %d", &st.time)
		line = rest
	}
	st.seq++
	st.kind = sequencer.KindRequest
	f := strings.Fields(line)
	if f[0] == "tick" {
		st.kind = sequencer.KindTick
		return
	}
	scan(t, f[0], "c%d", &st.conn)
	switch f[1] {
	case "gone":
		st.kind = sequencer.KindDisconnected
	case "setting":
		st.c = Command{Tag: TagSetCancelOnDisconnect, On: f[2] == "on"}
	default:
		st.c = parseCommand(t, f, st.next)
	}
}

func parseCommand(t *testing.T, f []string, next map[uint64]uint64) (c Command) {
	t.Helper()
	scan(t, f[1], "a%d", &c.Account)
	what := f[2]
	next[c.Account]++
	c.ClientOrderID = next[c.Account]
	if n := len(f); f[n-2] == "id" {
		scan(t, f[n-1], "%d", &c.ClientOrderID)
		f = f[:n-2]
	}
	c.Tag, c.Type, c.TimeInForce, c.Side = TagNew, Limit, GoodTillCancel, Buy
	if n := len(f); f[n-2] == "until" {
		c.TimeInForce = GoodTillDate
		scan(t, f[n-1], "%d", &c.Expiry)
	}
	if strings.HasSuffix(what, "sell") {
		c.Side = Sell
	}
	switch what {
	case "cancel":
		c = Command{Tag: TagCancel, Account: c.Account, ClientOrderID: c.ClientOrderID}
		scan(t, f[3], "%d", &c.Target)
	case "replace":
		c = Command{Tag: TagReplace, Account: c.Account, ClientOrderID: c.ClientOrderID}
		scan(t, f[3]+" "+f[4], "%d %d@%d", &c.Target, &c.Quantity, &c.Price)
	case "market-buy", "market-sell":
		c.Type, c.TimeInForce = Market, ImmediateOrCancel
		scan(t, f[3], "%d", &c.Quantity)
	case "ioc-buy", "ioc-sell":
		c.TimeInForce = ImmediateOrCancel
		fallthrough
	default:
		scan(t, f[3], "%d@%d", &c.Quantity, &c.Price)
	}
	return c
}

func scan(t *testing.T, text, format string, into ...any) {
	t.Helper()
	if _, err := fmt.Sscanf(text, format, into...); err != nil {
		t.Fatalf("script line %q: %v", text, err)
	}
}

// format formats an output as a line of a script.
func format(out output) string {
	r := out.report
	who := fmt.Sprintf("c%d a%d#%d ", out.conn, r.Account, r.ClientOrderID)
	switch r.Tag {
	case TagCancelOnDisconnect:
		return fmt.Sprintf("c%d setting %t", out.conn, r.On)
	case TagAccepted:
		return who + fmt.Sprintf("accepted as %d", r.OrderID)
	case TagRejected:
		return who + "rejected: " + r.Reason.String()
	case TagFill:
		side, role := "bought", "taking"
		if r.Side == Sell {
			side = "sold"
		}
		if r.Liquidity == Resting {
			role = "resting"
		}
		return who + fmt.Sprintf("%s %d@%d %s, open %d", side, r.Quantity, r.Price, role, r.Open)
	case TagCancelled:
		return who + fmt.Sprintf("cancelled %d by %d: %s", r.Quantity, r.Command, r.Reason)
	}
	return who + fmt.Sprintf("replaced by %d: %d@%d, open %d, kept %t", r.Command, r.Quantity,
		r.Price, r.Open, r.KeptPriority)
}

// play runs a script. It returns the outputs of the last line.
func play(t *testing.T, b *Book, script string) []output {
	t.Helper()
	st := stepper{next: map[uint64]uint64{}}
	var last []output
	for line := range strings.Lines(script) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		parse(t, line, &st)
		last = deliver(t, b, st.event(t))
		if err := audit(b); err != nil {
			t.Fatal(err)
		}
	}
	return last
}

func TestScripts(t *testing.T) {
	for _, s := range append(scripts, lifeScripts...) {
		t.Run(s.name, func(t *testing.T) {
			var said []string
			for _, out := range play(t, mustNew(t, s.config), s.script) {
				said = append(said, format(out))
			}
			if got, want := strings.Join(said, "\n"), strings.Join(s.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// The table has each request with its size, and the sequencer refuses commands of a role that only
// reads.
func TestReadonlyRoleCannotTrade(t *testing.T) {
	b := mustNew(t, Config{})
	table, err := sequencer.NewTable(b.Requests())
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range goldenRequests {
		req := request(t, 1, g.command)
		kind, ok := table.Lookup(req.Tag)
		least := sequencer.RoleTrader
		switch {
		case isQuery(req.Tag):
			least = sequencer.RoleReadonly
		case req.Tag == TagRaiseLimits:
			least = sequencer.RoleOperator
		}
		if !ok || kind.Role != least || kind.Query != isQuery(req.Tag) || kind.Size != len(req.Body) {
			t.Errorf("%s is %+v; it needs role %d and has %d bytes", g.name, kind, least, len(req.Body))
		}
	}
}

func TestBrokenContractsPanicWithTheEvent(t *testing.T) {
	b := traded(t)
	cancel := Command{Tag: TagCancel, Account: 1, ClientOrderID: 9, Target: 1}
	for name, f := range map[string]func(){
		"event 6 at 0 after event 6": func() { b.Apply(numbered(6, request(t, 1, cancel)), &tape{}) },
		"event 7 with tag 0x20": func() {
			b.Apply(numbered(7, request(t, 1, Command{Tag: TagQueryTop})), &tape{})
		},
		"event 7 with tag 0x10": func() {
			b.Apply(&sequencer.Event{Seq: 7, Tag: TagNew, Body: make([]byte, 48)}, &tape{})
		},
		"request with tag 0x11 is n": func() { b.Query(request(t, 1, cancel), &tape{}) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, name) {
					t.Errorf("panic is %q, want %q in it", got, name)
				}
			}()
			f()
		}()
	}
}

func numbered(seq uint64, ev *sequencer.Event) *sequencer.Event {
	ev.Seq = seq
	return ev
}

func TestNewRejectsLimitsByName(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{MaxOrders: -1}, "MaxOrders is -1"},
		{Config{MaxLevels: 1<<30 + 1}, "MaxLevels is 1073741825"},
		{Config{MaxOrders: 1 << 20, MaxQuantity: 1 << 44},
			"MaxQuantity is 17592186044416 with 1048576 orders"},
		{Config{MaxOrders: 1, MaxQuantity: math.MaxUint64}, "MaxQuantity"},
	} {
		if _, err := New(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error is %v, want %q in it", c.config, err, c.want)
		}
	}
}

func TestExtremePricesAreOrdered(t *testing.T) {
	b := mustNew(t, Config{})
	for i, price := range []int64{math.MinInt64, 0, math.MaxInt64} {
		do(t, b, uint64(i+1), 1, Command{Tag: TagNew, Account: 1, ClientOrderID: uint64(i + 1),
			Side: Sell, Type: Limit, TimeInForce: GoodTillCancel, Price: price, Quantity: 1})
	}
	top := do(t, b, 0, 1, Command{Tag: TagQueryTop})[0].answer.(TopOfBook)
	if top.Ask != (Quote{math.MinInt64, 1, 1}) {
		t.Errorf("best ask is %+v, want the smallest integer", top.Ask)
	}
	got := do(t, b, 9, 2, Command{Tag: TagNew, Account: 2, ClientOrderID: 1, Side: Buy,
		Type: Market, TimeInForce: ImmediateOrCancel, Quantity: 3})
	for i, price := range []int64{math.MinInt64, 0, math.MaxInt64} {
		if r := got[2+2*i].report; r.Price != price {
			t.Errorf("trade %d is at %d, want %d", i, r.Price, price)
		}
	}
}

// The table must find all orders while it grows and shifts entries back.
func TestIndexAgreesWithAMap(t *testing.T) {
	o, want := newOrders(), map[uint64]uint32{}
	for i := uint64(1); i <= 20000; i++ {
		r := order{account: uint32(i % 7), client: i, open: 1}
		want[i] = o.add(&r)
		if old := i / 2; i%3 != 0 && want[old] != 0 {
			o.remove(want[old])
			delete(want, old)
		}
	}
	for i := uint64(1); i <= 20000; i++ {
		if got := o.find(uint32(i%7), i); got != want[i] {
			t.Fatalf("order %d is in slot %d, want %d", i, got, want[i])
		}
	}
	if o.count != len(want) {
		t.Fatalf("count is %d, want %d", o.count, len(want))
	}
}
