package orderbook

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// document returns docs/orderbook.md with each run of white space as one space.
func document(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/orderbook.md")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

// documented are sentences of docs/orderbook.md, each with a script that shows what it says.
var documented = []struct {
	sentence string
	config   Config
	script   string
	want     []string // with the order id if it is a rejection
}{
	{"A command that is rejected before leaves no trace", Config{MaxAccounts: 1},
		`c1 a1 cancel 1
		c1 a2 buy 1@1 id 0
		c1 a3 buy 0@1
		c1 a4 buy 1@1 id 4294967297
		c1 a5 buy 1@1
		c1 a1 buy 1@1`,
		[]string{"c1 a1#2 rejected: too many accounts, order 0"}},
	{"An id more than 4,294,967,296 above the last one is rejected", Config{},
		`c1 a1 buy 1@1 id 4294967296
		c1 a1 buy 1@1 id 8589934593`,
		[]string{"c1 a1#8589934593 rejected: client order id is too far above the last one of the account, order 0"}},
	{"and is not used up", Config{},
		`c1 a1 buy 1@1 id 4294967297
		c1 a1 buy 1@1 id 1`,
		[]string{"c1 a1#1 accepted as 2"}},
	{"A repeated or lower id is rejected as a duplicate, and so is 0", Config{},
		`c1 a1 buy 1@1 id 0`,
		[]string{"c1 a1#0 rejected: client order id is not above the last one of the account, order 0"}},
	{"order_id is that of the open order that a Replace names, and 0 for any other command", Config{},
		`c1 a1 buy 1@1
		c1 a1 replace 1 0@1`,
		[]string{"c1 a1#2 rejected: quantity is zero or above the limit, order 1"}},
	{"and 0 for any other command and for a duplicate", Config{},
		`c1 a1 buy 1@1
		c1 a1 replace 1 2@1 id 1`,
		[]string{"c1 a1#1 rejected: client order id is not above the last one of the account, order 0"}},
	{"A connection that entered both orders, for two accounts, receives both Fills in that order",
		Config{},
		`c1 a1 sell 1@1
		c1 a2 buy 1@1`,
		[]string{"c1 a2#1 accepted as 2", "c1 a1#1 sold 1@1 resting, open 0",
			"c1 a2#1 bought 1@1 taking, open 0"}},
	{"If it is the only order at its price, the price level that it leaves counts as free",
		Config{MaxLevels: 1},
		`c1 a1 sell 1@1
		c1 a1 replace 1 1@2`,
		[]string{"c1 a1#1 replaced by 2: 1@2, open 1, kept false"}},
	{"quantity that the account bought or sold of the instrument, including its open orders, could " +
		"exceed 2^62", Config{MaxOrders: 2, MaxQuantity: 1 << 62},
		`c1 a1 buy 4611686018427387904@1
		c1 a1 ioc-sell 4611686018427387904@2
		c1 a1 buy 1@1`,
		[]string{"c1 a1#3 rejected: position limit, order 0"}},
	{"After MaxTrades orders the rest is cancelled with reason 37, if it would meet more", Config{MaxTrades: 2},
		`c1 a1 sell 1@1
		c1 a1 sell 1@1
		c1 a1 sell 1@1
		c2 a2 buy 5@1`,
		[]string{"c2 a2#1 accepted as 4", "c1 a1#1 sold 1@1 resting, open 0", "c2 a2#1 bought 1@1 taking, open 4",
			"c1 a1#2 sold 1@1 resting, open 0", "c2 a2#1 bought 1@1 taking, open 3",
			"c2 a2#1 cancelled 3 by 1: it has met as many orders as one command may; enter the rest again"}},
	{"An order that may rest needs room (9, 10) when it arrives, even if it would trade in full",
		Config{MaxOrders: 1},
		`c1 a1 sell 1@1
		c1 a2 buy 1@1`,
		[]string{"c1 a2#1 rejected: too many open orders, order 0"}},
}

func TestDocumentedSentencesHold(t *testing.T) {
	text := document(t)
	for _, d := range documented {
		if !strings.Contains(text, d.sentence) {
			t.Errorf("docs/orderbook.md does not say %q", d.sentence)
		}
		var said []string
		for _, out := range play(t, mustNew(t, d.config), d.script) {
			line := format(out)
			if out.report.Tag == TagRejected {
				line += ", order " + strconv.FormatUint(out.report.OrderID, 10)
			}
			said = append(said, line)
		}
		if !slices.Equal(said, d.want) {
			t.Errorf("%s\ngot  %q\nwant %q", d.sentence, said, d.want)
		}
	}
	// The position limit is one of each instrument.
	b := mustNew(t, Config{MaxOrders: 2, MaxQuantity: 1 << 62})
	buy := Command{Tag: TagNew, Account: 1, ClientOrderID: 1, Side: Buy, Type: Limit,
		TimeInForce: GoodTillCancel, Quantity: 1 << 62}
	do(t, b, 1, 1, buy)
	buy.ClientOrderID, buy.Instrument = 2, 1
	if got := do(t, b, 2, 1, buy); got[0].report.Tag != TagAccepted {
		t.Errorf("an order in another instrument: %s", format(got[0]))
	}
}

// The table of limits has the values and the reasons of the code, and no other limit.
func TestDocumentationHasTheLimits(t *testing.T) {
	c := Config{}.withDefaults()
	want := map[string]struct {
		value  uint64
		reason Reason
	}{
		"MaxAccounts":                      {uint64(c.MaxAccounts), TooManyAccounts},
		"MaxInstruments":                   {uint64(c.MaxInstruments), TooManyInstruments},
		"MaxPositions":                     {uint64(c.MaxPositions), TooManyPositions},
		"MaxOrders":                        {uint64(c.MaxOrders), TooManyOrders},
		"MaxLevels":                        {uint64(c.MaxLevels), TooManyLevels},
		"MaxQuantity":                      {c.MaxQuantity, BadQuantity},
		"MaxTrades":                        {uint64(c.MaxTrades), TooDeep},
		"bought or sold by an account per": {tradedMax, PositionLimit},
	}
	_, table, _ := strings.Cut(document(t), "| limit | default | reason |")
	table, _, _ = strings.Cut(table, " The last one")
	row := regexp.MustCompile(`\| (\w[^|]*) \| ([0-9,]+) \| (\d+) \|`)
	for _, f := range row.FindAllStringSubmatch(table, -1) {
		value, err := strconv.ParseUint(strings.ReplaceAll(f[2], ",", ""), 10, 64)
		name, _, _ := strings.Cut(strings.Replace(f[1], " instrument", ":", 1), ":")
		w, known := want[name]
		if err != nil || !known || w.value != value || strconv.Itoa(int(w.reason)) != f[3] {
			t.Errorf("limit %q is %d with reason %s, the code has %+v, %v", name, value, f[3], w, err)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("docs/orderbook.md lacks the limits %v", want)
	}
	kept := "outcomes of the last " + thousands(kept) + " commands"
	for _, sentence := range []string{kept, "limit is 1 to " + strconv.Itoa(MaxPage) + "."} {
		if !strings.Contains(document(t), sentence) {
			t.Errorf("docs/orderbook.md does not say %q", sentence)
		}
	}
}

func thousands(n int) string {
	digits := strconv.Itoa(n)
	return digits[:len(digits)-3] + "," + digits[len(digits)-3:]
}

// precedence returns the documented order of the reasons of a request.
func precedence(t *testing.T, request string) (order []Reason) {
	t.Helper()
	for _, pattern := range []string{"for every command", request} {
		f := regexp.MustCompile(pattern + ` ([0-9, ]*[0-9])`).FindStringSubmatch(document(t))
		if f == nil {
			t.Fatalf("docs/orderbook.md does not list the reasons %s", pattern)
		}
		for _, n := range strings.Split(f[1], ", ") {
			reason, err := strconv.Atoi(n)
			if err != nil {
				t.Fatal(err)
			}
			order = append(order, Reason(reason))
		}
	}
	return order
}

// crowded returns a book in which each limit can be reached by one more command. Account 1 has
// an order of 2 lots, one of which is executed, and may buy 2 lots more; account 2 has a
// position, account 3 none.
func crowded(t *testing.T) *Book {
	t.Helper()
	b := mustNew(t, Config{})
	b.rules = 0 // under which a command that is rejected creates its account
	play(t, b, `c1 a1 buy 2@100
		c1 a2 ioc-sell 1@100
		c1 a3 cancel 1
		c1 a2 buy 1@100`)
	b.rules = Rules
	b.positions[0].traded[Buy.index()] = tradedMax - 3 // and 1 lot is open
	return b
}

// Each combination of reasons that apply at the same time is reported by the documented first.
func TestReasonsHaveTheDocumentedPrecedence(t *testing.T) {
	news, cancels, replaces := precedence(t, "then for New"), precedence(t, "for Cancel"),
		precedence(t, "for Replace")
	seen := map[Reason]int{}
	try := func(limits Config, order []Reason, c Command, applies map[Reason]bool) {
		t.Helper()
		b := crowded(t)
		b.config = limits.withDefaults()
		b.limits = b.config.limits()
		r := do(t, b, b.seq+1, 1, c)[0].report
		first := Reason(0)
		if at := slices.IndexFunc(order, func(r Reason) bool { return applies[r] }); at >= 0 {
			first = order[at]
		}
		for reason, does := range applies {
			if does && !slices.Contains(order, reason) {
				t.Errorf("reason %d of request 0x%02x is not documented", reason, c.Tag)
			}
		}
		if got := r.Reason; (r.Tag == TagRejected) != (first != 0) || first != 0 && got != first {
			t.Errorf("%+v with %+v: tag 0x%02x, reason %d; %v apply and %v is documented", c, limits,
				r.Tag, got, applies, order)
		}
		seen[first]++
	}
	each := func(bits int, f func(on func(int) bool)) {
		for set := range 1 << bits {
			f(func(bit int) bool { return set>>bit&1 == 1 })
		}
	}
	pick := func(on bool, a, b uint64) uint64 {
		if on {
			return a
		}
		return b
	}
	for account := uint64(1); account <= 4; account++ {
		used := (4 - account) / 2 // a duplicate of each account; 0 of the one that does not exist
		each(9, func(on func(int) bool) {
			full := Config{MaxAccounts: int(pick(on(0), 3, 0)), MaxInstruments: int(pick(on(1), 1, 0)),
				MaxPositions: int(pick(on(2), 2, 0)), MaxOrders: int(pick(on(3), 2, 0)),
				MaxLevels: int(pick(on(4), 1, 0)), MaxQuantity: pick(on(5), 2, 0)}
			c := Command{Tag: TagNew, Account: account, ClientOrderID: pick(on(6), used, 9), Side: Buy,
				Type: Limit, TimeInForce: GoodTillDate, Expiry: int64(pick(on(7), 0, 5)),
				Instrument: uint32(pick(on(8), 7, 0)), Price: 101, Quantity: 3}
			held := account < 3 && !on(8)
			common := map[Reason]bool{TooManyAccounts: on(0) && account == 4, Duplicate: on(6)}
			try(full, news, c, merged(common, map[Reason]bool{
				BadQuantity: on(5), BadExpiry: on(7), TooManyOrders: on(3),
				TooManyInstruments: on(1) && on(8), TooManyLevels: on(4) && !on(8),
				PositionLimit: account == 1 && held, TooManyPositions: on(2) && !held,
			}))
			target := pick(on(7), 1, 5)
			open := account == 1 && target == 1
			c = Command{Tag: TagCancel, Account: account, ClientOrderID: c.ClientOrderID, Target: target}
			try(full, cancels, c, merged(common, map[Reason]bool{UnknownOrder: !open}))
			quantity := pick(on(8), 1, 5)
			c = Command{Tag: TagReplace, Account: account, ClientOrderID: c.ClientOrderID,
				Target: target, Price: 101, Quantity: quantity}
			try(full, replaces, c, merged(common, map[Reason]bool{UnknownOrder: !open,
				BadQuantity: on(5) && quantity > 2, AlreadyExecuted: open && quantity == 1,
				PositionLimit: open && quantity == 5, TooManyLevels: open && on(4)}))
		})
	}
	for r := Reason(0); r <= BadExpiry; r++ {
		if seen[r] == 0 {
			t.Errorf("no command was rejected with reason %d", r)
		}
	}
}

func merged(a, b map[Reason]bool) map[Reason]bool {
	for reason, applies := range a {
		b[reason] = applies
	}
	return b
}
