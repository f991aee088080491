package node_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"sluice/actors/node/inspect"
)

// The journal of any application can be listed: the ledger has a table of requests and no words.
func TestJournalOfLedgerIsListed(t *testing.T) {
	dir := t.TempDir()
	for run := range uint64(2) {
		session(dir, func(c *ledgerClient) {
			c.do(tagOpen, 2*run, 100)
			c.do(tagOpen, 2*run+1, 0)
			c.do(tagBalance, 2*run)
			c.do(tagTransfer, 2*run, 2*run+1, 30)
		})
	}
	j, err := inspect.Open(filepath.Join(dir, "data"), newLedger())
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.Verify()
	if err != nil {
		t.Fatal(err)
	}
	if s.Requests["open"] != 4 || s.Requests["transfer"] != 2 || s.Requests["balance"] != 0 {
		t.Errorf("%+v; want 4 open, 2 transfer, and no query", s)
	}
	var b strings.Builder
	if err := j.List(&b, inspect.Options{JSON: true}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for dec := json.NewDecoder(strings.NewReader(b.String())); dec.More(); {
		var r inspect.Record
		if err := dec.Decode(&r); err != nil {
			t.Fatal(err)
		}
		if r.Time < "2026" || r.Role == "" {
			t.Errorf("event %d has time %s and role %q", r.Seq, r.Time, r.Role)
		}
		if r.Name != "" {
			got = append(got, fmt.Sprintf("%d.%d %s %d", r.Connection>>40, r.Connection&(1<<40-1),
				r.Name, r.Request))
		}
	}
	want := "1.1 open 1, 1.1 open 2, 1.1 transfer 4, 2.1 open 1, 2.1 open 2, 2.1 transfer 4"
	if strings.Join(got, ", ") != want {
		t.Errorf("requests %s, want %s", strings.Join(got, ", "), want)
	}
}
