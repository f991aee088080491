package demo

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/marketdata"
)

func TestWrongBookIsDetected(t *testing.T) {
	book, err := orderbook.New(orderbook.Config{})
	if err != nil {
		t.Fatal(err)
	}
	level := (&marketdata.Frame{Tag: marketdata.TagLevel, Instrument: 1, Side: marketdata.Buy, Price: 100,
		Quantity: 1, Count: 1}).Append(nil)
	same, other, half := marketdata.NewBookView(1, false), marketdata.NewBookView(1, false),
		marketdata.NewBookView(1, false)
	for _, v := range []*marketdata.BookView{same, other, half} {
		v.Begin(0)
	}
	if err := other.Describe(level[4], level[5:]); err != nil {
		t.Fatal(err)
	}
	for _, v := range []*marketdata.BookView{same, other} {
		if err := v.End(0); err != nil {
			t.Fatal(err)
		}
	}
	var a auditor
	a.books(book, []*watcher{{instrument: 1, view: same}, {instrument: 1, view: other}, {instrument: 1, view: half}})
	if a.copies != 3 || a.equal != 1 || len(a.wrong) != 2 || !strings.Contains(a.wrong[0], "subscriber 2 ") {
		t.Errorf("%+v", a.findings)
	}
}

func TestSubscribersHaveTheServersBooks(t *testing.T) {
	var out bytes.Buffer
	err := Run(t.Context(), Config{Program: sluice, For: 2 * time.Second, Clients: 16, Subscribers: 41,
		Dir: t.TempDir(), Out: &out})
	for _, want := range []string{"41 subscribers received ", "4 read slowly, 1 nothing until the end",
		"  41 of 41 equal the replay, byte for byte"} {
		if err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%v, no %q:\n%s", err, want, &out)
		}
	}
}
