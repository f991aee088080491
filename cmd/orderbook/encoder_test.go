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
	{"cancel", Command{Tag: TagCancel, Account: 1, ClientOrderID: 3, Target: 2}},
	{"replace", Command{Tag: TagReplace, Account: 1, ClientOrderID: 4, Target: 2, Price: 101,
		Quantity: 12}},
	{"query-top", Command{Tag: TagQueryTop, Instrument: 3}},
	{"query-position", Command{Tag: TagQueryPosition, Account: 1, Instrument: 3}},
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
	{"top-of-book", Answer{Tag: TagTopOfBook, Seq: 13, Instrument: 3, Bid: Quote{100, 10, 1},
		Ask: Quote{101, 25, 2}}},
	{"position", Answer{Tag: TagPosition, Seq: 13, Account: 1, Instrument: 3, OpenOrders: 1,
		Net: -3, Bought: 4, Sold: 7, Accepted: 5, ClientOrderID: 4}},
}

func encodeResponse(t testing.TB, value any) []byte {
	t.Helper()
	var frame []byte
	var err error
	switch v := value.(type) {
	case Report:
		frame, err = Encoder{}.AppendReport(nil, &v)
	case Answer:
		frame, err = Encoder{}.AppendQuery(nil, &v)
	}
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
		var a Answer
		if err := DecodeReport(frame[4], frame[5:], &r); err == nil {
			if r != g.value {
				t.Errorf("%s decodes to %+v", g.name, r)
			}
		} else if err := DecodeAnswer(frame[4], frame[5:], &a); err != nil || a != g.value {
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
	for _, c := range []struct {
		name string
		tag  uint8
		body []byte
		want string
	}{
		{"tag below the requests", 0x0F, nil, "tag 0x0f is unknown"},
		{"response tag", TagAccepted, make([]byte, 32), "tag 0x30 is unknown"},
		{"short body", TagNew, make([]byte, 39), "39 bytes, must have 40"},
		{"long body", TagCancel, make([]byte, 25), "25 bytes, must have 24"},
		{"no side", TagNew, edit(20, 0), "side is 0"},
		{"unknown type", TagNew, edit(21, 3), "order type is 3"},
		{"unknown time in force", TagNew, edit(22, 9), "time in force is 9"},
		{"reserved byte set", TagNew, edit(23, 1), "reserved byte 23 of a new order is 1"},
		{"market order that would rest", TagNew, edit(21, byte(Market)), "cannot rest"},
		{"market order with a price", TagNew, market, "has price 100"},
	} {
		var command Command
		if err := DecodeRequest(c.tag, c.body, &command); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %q in it", c.name, err, c.want)
		}
	}
}

func TestMalformedResponsesAreRejected(t *testing.T) {
	var r Report
	var a Answer
	bad := func(index, at int, value byte) (uint8, []byte) {
		frame := encodeResponse(t, goldenResponses[index].value)
		frame[5+at] = value
		return frame[4], frame[5:]
	}
	for _, c := range []struct{ index, at, value int }{{1, 33, 0}, {1, 33, 32}, {2, 64, 3},
		{2, 65, 0}, {3, 48, 1}, {4, 64, 2}} {
		tag, body := bad(c.index, c.at, byte(c.value))
		if DecodeReport(tag, body, &r) == nil {
			t.Errorf("response 0x%02x with byte %d = %d is accepted", tag, c.at, c.value)
		}
	}
	for tag := range 256 {
		if DecodeReport(uint8(tag), make([]byte, 3), &r) == nil ||
			DecodeAnswer(uint8(tag), make([]byte, 3), &a) == nil {
			t.Errorf("response 0x%02x of 3 bytes is accepted", tag)
		}
	}
}

func TestUnknownTagIsAnErrorAndAppendsNothing(t *testing.T) {
	dst := []byte("x")
	for _, tag := range []uint8{0, 2, TagTopOfBook, 0x37, 0xFF} {
		if out, err := (Encoder{}).AppendReport(dst, &Report{Tag: tag}); err == nil || len(out) != 1 {
			t.Errorf("report tag 0x%02x: %q, %v", tag, out, err)
		}
	}
	for _, tag := range []uint8{0, TagReplaced, 0x37} {
		if out, err := (Encoder{}).AppendQuery(dst, &Answer{Tag: tag}); err == nil || len(out) != 1 {
			t.Errorf("answer tag 0x%02x: %q, %v", tag, out, err)
		}
		if out, err := AppendRequest(dst, 1, &Command{Tag: tag}); err == nil || len(out) != 1 {
			t.Errorf("request tag 0x%02x: %q, %v", tag, out, err)
		}
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
