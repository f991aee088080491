package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluice/actors/node/inspect"
	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability/journal"
)

// poison appends an order without a body, which no server journals, and on which the book panics. It
// returns the number of the event.
func poison(t *testing.T, dir string) uint64 {
	t.Helper()
	j, r, err := journal.Open(journal.Options{Dir: filepath.Join(dir, "journal")})
	if err != nil {
		t.Fatal(err)
	}
	var last sequencer.Event
	for ev, err := range r.Events() {
		if err := errors.Join(err, sequencer.DecodeEvent(ev.Payload, &last)); err != nil {
			t.Fatal(err)
		}
	}
	seq, err := j.Writer().Append(sequencer.AppendEvent(nil, &sequencer.Event{
		Kind: sequencer.KindRequest, Time: last.Time, Conn: 1<<40 + 1, Request: 99,
		Identity: sequencer.Identity{Role: sequencer.RoleTrader}, Tag: orderbook.TagNew}))
	_, committed := j.Writer().Commit()
	if err := errors.Join(err, committed, j.Close()); err != nil {
		t.Fatal(err)
	}
	return uint64(seq)
}

func TestSkippedEventLetsServerStart(t *testing.T) {
	dir := t.TempDir()
	p, address := serving(t, dir)
	expect(t, address, 0, "sell 3 10 @ 101", "accepted")
	if _, problems, code := local("journal", "skip", "1", "--data-dir", dir); code != 1 ||
		!strings.Contains(problems, "is in use") {
		t.Errorf("skip beside a running server: exit code %d, %q", code, problems)
	}
	p.signal(syscall.SIGKILL) // without the snapshot of a drain, so the start replays the events before it, too
	p.code()
	if out, problems, code := local("journal", "verify", "--data-dir", dir); code != 0 ||
		!strings.Contains(out, "  end         the last run did not end in order (killed, or the machine failed). Events 1 to ") {
		t.Errorf("after a kill: exit code %d, %s%s", code, out, problems)
	}
	number := poison(t, dir)
	event := fmt.Sprint(number)
	p = start(t, "serve", "--listen-tcp", "127.0.0.1:0", "--admin-address", "127.0.0.1:0", "--data-dir", dir)
	p.ends(1, "event "+event)

	// It is listed and verified: requests are not judged.
	if out, problems, code := local("journal", "list", "--from", event, "--data-dir", dir); code != 0 ||
		!strings.Contains(out, "request 99 new order: malformed: ") {
		t.Errorf("exit code %d, %q%s", code, out, problems)
	}
	for _, wrong := range []string{"0", "x", "-1"} {
		if _, problems, code := local("journal", "--data-dir", dir, "--", "skip", wrong); code != exitUsage {
			t.Errorf("skip %s: exit code %d, %q", wrong, code, problems)
		}
	}
	out, problems, code := local("journal", "skip", event, "--data-dir", dir)
	if code != 0 || !strings.Contains(out, "the next start leaves out event "+event) {
		t.Fatalf("exit code %d, %q%s", code, out, problems)
	}
	if out, problems, code = local("journal", "verify", "--data-dir", dir); code != 0 ||
		!strings.Contains(out, "  skip        event "+event+" will be left out at the next start\n") {
		t.Errorf("a pending skip: exit code %d, %s%s", code, out, problems)
	}
	if out, _, _ = local("journal", "verify", "--json", "--data-dir", dir); !strings.Contains(out,
		`"pending_skips":[`+event+`]`) {
		t.Errorf("a pending skip: %s", out)
	}
	p, address = serving(t, dir)
	expect(t, address, 0, "top 3", "ask 10 @ 101")
	p.signal(syscall.SIGTERM)
	p.ends(0, "drained in")
	if out, problems, code = local("journal", "verify", "--data-dir", dir); code != 0 ||
		!strings.Contains(out, "  end         closed\n") || strings.Contains(out, "will be left out") {
		t.Errorf("after a drain: exit code %d, %s%s", code, out, problems)
	}

	out, problems, code = local("journal", "verify", "--json", "--data-dir", dir)
	var summary inspect.Summary
	if err := json.Unmarshal([]byte(out), &summary); err != nil || code != 0 ||
		len(summary.Skips) != 1 || summary.Skips[0].Skipped != number {
		t.Errorf("exit code %d, %v, %+v%s", code, err, summary, problems)
	}
}
