package orderbook

import (
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sluice/encode"
)

var _ encode.Encoder[Report, Answer] = Encoder{}

var update = flag.Bool("update", false, "rewrite testdata/*.hex from the current encoding")

var goldenRequests = []struct {
	name    string
	command Command
}{
	{"new-limit", Command{Tag: TagNew, Account: 1, ClientOrderID: 2, Instrument: 3, Side: Buy,
		Type: Limit, TimeInForce: GoodTillCancel, Price: 100, Quantity: 10}},
	{"new-limit-ioc-negative-price",
		Command{Tag: TagNew, Account: math.MaxUint64, ClientOrderID: 5, Instrument: math.MaxUint32,
			Side: Sell, Type: Limit, TimeInForce: ImmediateOrCancel, Price: -2, Quantity: 1}},
	{"new-market", Command{Tag: TagNew, Account: 1, ClientOrderID: 6, Instrument: 3, Side: Sell,
		Type: Market, TimeInForce: ImmediateOrCancel, Quantity: 7}},
	{"new-good-till-date", Command{Tag: TagNew, Account: 1, ClientOrderID: 7, Instrument: 3, Side: Buy,
		Type: Limit, TimeInForce: GoodTillDate, Price: 100, Quantity: 10, Expiry: 1796119200000000000}},
	{"cancel", Command{Tag: TagCancel, Account: 1, ClientOrderID: 3, Target: 2}},
	{"replace", Command{Tag: TagReplace, Account: 1, ClientOrderID: 4, Target: 2, Price: 101,
		Quantity: 12}},
	{"set-cancel-on-disconnect", Command{Tag: TagSetCancelOnDisconnect, On: true}},
	{"raise-limits", Command{Tag: TagRaiseLimits, Limits: Limits{Orders: 2_000_000, Levels: 8192}}},
	{"query-top", Command{Tag: TagQueryTop, Instrument: 3}},
	{"query-position", Command{Tag: TagQueryPosition, Account: 1, Instrument: 3}},
	{"query-open-orders", Command{Tag: TagQueryOpenOrders, Account: 1, After: 9, Limit: 256}},
	{"query-outcome", Command{Tag: TagQueryOutcome, Account: 1, ClientOrderID: 4}},
	{"query-fills", Command{Tag: TagQueryFills, Account: 1, After: 11, Trade: 1, Limit: 100}},
	{"query-limits", Command{Tag: TagQueryLimits}},
}

var goldenResponses = []struct {
	name  string
	value any
}{
	{"accepted", Report{Tag: TagAccepted, Seq: 9, Account: 1, ClientOrderID: 2, OrderID: 9}},
	{"rejected", Report{Tag: TagRejected, Seq: 10, Account: 1, ClientOrderID: 2, Request: TagNew,
		Reason: Duplicate}},
	{"fill", Report{Tag: TagFill, Seq: 11, Account: 1, ClientOrderID: 2, OrderID: 9, Instrument: 3,
		Trade: 1, Side: Buy, Liquidity: Resting, Price: -100, Quantity: 4, Open: 6}},
	{"cancelled", Report{Tag: TagCancelled, Seq: 12, Account: 1, ClientOrderID: 2, OrderID: 9,
		Command: 3, Quantity: 6, Reason: Requested}},
	{"replaced", Report{Tag: TagReplaced, Seq: 13, Account: 1, ClientOrderID: 2, OrderID: 9,
		Command: 4, Price: 101, Quantity: 12, Open: 8, KeptPriority: true}},
	{"cancelled-expired", Report{Tag: TagCancelled, Seq: 14, Account: 1, ClientOrderID: 7, OrderID: 10,
		Quantity: 10, Reason: Expired}},
	{"cancel-on-disconnect", Report{Tag: TagCancelOnDisconnect, Seq: 15, On: true}},
	{"limits-raised", Report{Tag: TagLimitsRaised, Seq: 16}},
	{"top-of-book", TopOfBook{Seq: 13, Instrument: 3, Bid: Quote{100, 10, 1}, Ask: Quote{101, 25, 2}}},
	{"position", Position{Seq: 13, Account: 1, Instrument: 3, OpenOrders: 1, Bought: 4, Sold: 7,
		Accepted: 5, LastID: 4}},
	{"open-order", OpenOrder{Seq: 13, Account: 1, ClientOrderID: 7, OrderID: 10, Instrument: 3, Side: Buy,
		TimeInForce: GoodTillDate, Price: 100, Open: 6, Quantity: 10, Expiry: 1796119200000000000}},
	{"open-orders", OpenOrders{Seq: 13, Account: 1, Count: 1, More: true}},
	{"outcome", Outcome{Seq: 13, Account: 1, Command: 4, Event: 12, OrderID: 9, Status: StatusRejected,
		Request: TagReplace, Reason: AlreadyExecuted}},
	{"past-fill", Report{Tag: TagPastFill, Seq: 11, Account: 1, ClientOrderID: 2, OrderID: 9, Instrument: 3,
		Trade: 2, Side: Buy, Liquidity: Taking, Price: -100, Quantity: 4, Open: 6}},
	{"fills", Fills{Seq: 13, Account: 1, Count: 1, More: true, Dropped: true}},
	{"limit-use", LimitUse{Seq: 13, Used: Limits{1, 2, 3, 4, 5},
		Limit: Limits{1024, 1 << 20, 1 << 20, 2_000_000, 8192}}},
}

func encodeResponse(t testing.TB, value any) []byte {
	t.Helper()
	var a Answer
	switch v := value.(type) {
	case Report:
		if v.Tag == TagPastFill {
			encodePast(&v, &a)
			break
		}
		frame, err := Encoder{}.AppendReport(nil, &v)
		if err != nil {
			t.Fatal(err)
		}
		return frame
	case TopOfBook:
		v.encode(&a)
	case Position:
		v.encode(&a)
	case OpenOrder:
		v.encode(&a)
	case OpenOrders:
		v.encode(&a)
	case Outcome:
		v.encode(&a)
	case Fills:
		v.encode(&a)
	case LimitUse:
		v.encode(&a)
	}
	frame, err := Encoder{}.AppendQuery(nil, &a)
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

// golden compares "name hex" lines with a file in testdata.
func golden(t *testing.T, file string, lines []string) {
	t.Helper()
	path, text := filepath.Join("testdata", file), strings.Join(lines, "\n")+"\n"
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s differs; if the change of the protocol is intended, run with -update\n "+
			"got\n%swant\n%s", path, text, want)
	}
}

func TestGoldenRequests(t *testing.T) {
	var lines []string
	for _, g := range goldenRequests {
		frame, err := AppendRequest([]byte("kept"), 42, &g.command)
		if err != nil || string(frame[:4]) != "kept" {
			t.Fatalf("%s: %q, %v", g.name, frame, err)
		}
		frame = frame[4:]
		lines = append(lines, g.name+" "+hex.EncodeToString(frame))
		if n := binary.LittleEndian.Uint32(frame); int(n) != len(frame)-4 ||
			binary.LittleEndian.Uint64(frame[4:]) != 42 {
			t.Errorf("%s: header of %x is wrong", g.name, frame)
		}
		var c Command
		if err := DecodeRequest(frame[12], frame[13:], &c); err != nil || c != g.command {
			t.Errorf("%s decodes to %+v, %v", g.name, c, err)
		}
	}
	golden(t, "requests.hex", lines)
}

func TestGoldenResponses(t *testing.T) {
	var lines []string
	for _, g := range goldenResponses {
		frame := encodeResponse(t, g.value)
		lines = append(lines, g.name+" "+hex.EncodeToString(frame))
		if n := binary.LittleEndian.Uint32(frame); int(n) != len(frame)-4 || len(frame) > MaxFrame {
			t.Errorf("%s: length prefix %d of %d bytes", g.name, n, len(frame))
		}
		var r Report
		if err := DecodeReport(frame[4], frame[5:], &r); err == nil {
			if r != g.value || !IsReport(frame[4]) {
				t.Errorf("%s decodes to %+v", g.name, r)
			}
		} else if a, err := DecodeAnswer(frame[4], frame[5:]); err != nil || a != g.value ||
			IsReport(frame[4]) {
			t.Errorf("%s decodes to %+v, %v", g.name, a, err)
		}
	}
	golden(t, "responses.hex", lines)
}

// docs/orderbook.md is the specification, so it must show the golden vectors.
func TestDocumentationHasTheGoldenVectors(t *testing.T) {
	page, err := os.ReadFile("../../docs/orderbook.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"requests.hex", "responses.hex"} {
		lines, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(lines)) {
			if _, vector, _ := strings.Cut(strings.TrimSpace(line),
				" "); !strings.Contains(string(page), vector) {
				t.Errorf("docs/orderbook.md lacks the vector %s", line)
			}
		}
	}
}

func TestMalformedRequestsAreRejectedWithAReason(t *testing.T) {
	edit := func(at int, value byte) []byte {
		frame, err := AppendRequest(nil, 1, &goldenRequests[0].command)
		if err != nil {
			t.Fatal(err)
		}
		frame[requestHeader+at] = value
		return frame[requestHeader:]
	}
	market := edit(21, byte(Market))
	market[22] = byte(ImmediateOrCancel)
	until := edit(21, byte(Market))
	until[22] = byte(GoodTillDate)
	for _, c := range []struct {
		name string
		tag  uint8
		body []byte
		want string
	}{
		{"tag below the requests", 0x0F, nil, "tag 0x0f is unknown"},
		{"response tag", TagAccepted, make([]byte, 32), "tag 0x30 is unknown"},
		{"short body", TagNew, make([]byte, 40), "40 bytes, must have 48"},
		{"long body", TagCancel, make([]byte, 25), "25 bytes, must have 24"},
		{"no side", TagNew, edit(20, 0), "side is 0"},
		{"unknown type", TagNew, edit(21, 3), "order type is 3"},
		{"unknown time in force", TagNew, edit(22, 9), "time in force is 9"},
		{"reserved byte set", TagNew, edit(23, 1), "reserved byte 23 of a new order is 1"},
		{"market order that would rest", TagNew, edit(21, byte(Market)), "cannot rest"},
		{"market order with a price", TagNew, market, "has price 100"},
		{"market order that is good till date", TagNew, until, "cannot rest"},
		{"expiry of an order without", TagNew, edit(40, 1), "has expiry 1, must be 0"},
		{"setting neither on nor off", TagSetCancelOnDisconnect, []byte{2}, "is 2, must be 0 (off)"},
		{"no order asked for", TagQueryOpenOrders, make([]byte, 18), "limit of a query is 0"},
		{"too many fills asked for", TagQueryFills, append(make([]byte, 20), 1, 1), "is 257, must be 1"},
	} {
		var command Command
		if err := DecodeRequest(c.tag, c.body, &command); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %q in it", c.name, err, c.want)
		}
	}
}

func TestMalformedResponsesAreRejected(t *testing.T) {
	frames := map[string][]byte{}
	for _, g := range goldenResponses {
		frames[g.name] = encodeResponse(t, g.value)
	}
	decode := func(tag uint8, body []byte) error {
		var r Report
		if IsReport(tag) {
			return DecodeReport(tag, body, &r)
		}
		_, err := DecodeAnswer(tag, body)
		return err
	}
	for _, c := range []struct {
		name  string
		at    int
		value byte
	}{
		{"rejected", 33, 0}, {"rejected", 33, 14}, {"rejected", 33, 32}, {"fill", 64, 3}, {"fill", 65, 0},
		{"cancelled", 48, 1}, {"cancelled", 48, 38}, {"replaced", 64, 2}, {"cancel-on-disconnect", 8, 2},
		{"position", 24, 9}, {"open-order", 36, 0}, {"open-order", 37, 1}, {"open-orders", 20, 2},
		{"outcome", 40, 0}, {"outcome", 40, 1}, {"outcome", 40, 8}, {"outcome", 42, 0},
		{"outcome", 42, 32}, {"past-fill", 65, 3}, {"fills", 20, 2}, {"fills", 21, 2},
	} {
		frame := append([]byte(nil), frames[c.name]...)
		if err := decode(frame[4], frame[5:]); err != nil {
			t.Fatal(err)
		}
		frame[5+c.at] = c.value
		if decode(frame[4], frame[5:]) == nil {
			t.Errorf("%s with byte %d = %d is accepted", c.name, c.at, c.value)
		}
	}
	for tag := range 256 {
		if decode(uint8(tag), make([]byte, 3)) == nil {
			t.Errorf("response 0x%02x of 3 bytes is accepted", tag)
		}
	}
}

func TestUnknownTagIsAnErrorAndAppendsNothing(t *testing.T) {
	dst := []byte("x")
	for _, tag := range []uint8{0, 2, TagLimitsRaised + 1, TagTopOfBook, TagPastFill, 0xFF} {
		if out, err := (Encoder{}).AppendReport(dst, &Report{Tag: tag}); err == nil || len(out) != 1 {
			t.Errorf("report tag 0x%02x: %q, %v", tag, out, err)
		}
		if out, err := AppendRequest(dst, 1, &Command{Tag: tag}); err == nil || len(out) != 1 {
			t.Errorf("request tag 0x%02x: %q, %v", tag, out, err)
		}
	}
	if out, err := (Encoder{}).AppendQuery(dst, &Answer{}); err == nil || len(out) != 1 {
		t.Errorf("empty answer: %q, %v", out, err)
	}
}

// Slots are reused, so a pointer in a payload would keep garbage alive.
func TestPayloadsHoldNoPointers(t *testing.T) {
	var walk func(reflect.Type) error
	walk = func(typ reflect.Type) error {
		switch typ.Kind() {
		case reflect.Struct:
			for i := range typ.NumField() {
				if err := walk(typ.Field(i).Type); err != nil {
					return err
				}
			}
		case reflect.Pointer, reflect.Slice, reflect.String, reflect.Map, reflect.Interface, reflect.Chan, reflect.Func:
			return fmt.Errorf("%v", typ)
		}
		return nil
	}
	for _, v := range []any{Report{}, Answer{}} {
		if err := walk(reflect.TypeOf(v)); err != nil {
			t.Errorf("%T holds %v", v, err)
		}
		t.Logf("%T is %d bytes", v, reflect.TypeOf(v).Size())
	}
}
