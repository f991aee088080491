package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"sluice/cmd/lab/program"
	"sluice/cmd/orderbook"
)

// TestMain plays the role of a child process if it is one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && (os.Args[1] == floodRole || os.Args[1] == discardRole) {
		main()
		return
	}
	os.Exit(m.Run())
}

// A flood takes nothing from honest traders: no request of theirs is rejected, refused or fails, no
// connection of theirs is closed, and what the book has room for is left to those who come later. The flood is
// refused in each of its ways.
func TestFloodTakesNothingFromHonestTraders(t *testing.T) {
	path, err := program.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r, err := measure(options{program: path, honest: 50, rate: 20_000, length: 3 * time.Second, refused: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r.String())
	if h := r.Honest; h.Requests == 0 || h.Rejected+h.Refused+h.Failed+h.Closed != 0 {
		t.Errorf("honest traders: %+v", h)
	}
	if f := r.Flood; f.Served == 0 || f.Rejected == 0 || f.Refused == 0 || f.Busy == 0 || f.Closed == 0 ||
		f.Turned == 0 {
		t.Errorf("the flood met no limit of some kind, or was not served at all: %+v", f)
	}
	if r.Full != "" {
		t.Error(r.Full)
	}
	for _, name := range orderbook.LimitNames() {
		if used, limit := *r.Use.Used.Named(name), *r.Use.Limit.Named(name); limit == 0 || used > limit/2 {
			t.Errorf("%d of %d %s are used", used, limit, name)
		}
	}
	for _, want := range []line{
		{What: "login", Name: "mallory"},
		{What: "connection closed", Reason: "too_many_heartbeats", Name: "mallory"},
		{What: "login refused", Reason: "too_frequent_connections_of_key", Name: "trudy"},
	} {
		if lines, anonymous := r.named(want.What, want.Reason, want.Name); lines == 0 || anonymous > 0 {
			t.Errorf("%d lines of the audit file say %q with reason %q about %s; %d of them lack its key", lines,
				want.What, want.Reason, want.Name, anonymous)
		}
	}
	for _, l := range r.Audit {
		if strings.HasPrefix(l.Name, "honest") && l.What != "login" {
			t.Errorf("the audit file has %+v", l)
		}
	}
}
