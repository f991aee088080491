package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"sluice/actors/node"
)

// backing is a server under load.
type backing struct {
	t     *testing.T
	p     *process
	dir   string
	acked [3]atomic.Uint64 // last client order id of each account that was acknowledged
	stop  func()           // ends the load
}

// trades starts a server that rolls segments and removes them all the time, and clients that trade until
// the test ends.
func trades(t *testing.T) *backing {
	b := &backing{t: t, dir: filepath.Join(t.TempDir(), "data")}
	var address string
	b.p, address = serving(t, b.dir, "--journal-segment", "64KiB", "--snapshot-events", "1500")
	stop := make(chan struct{})
	var clients sync.WaitGroup
	b.stop = sync.OnceFunc(func() { close(stop); clients.Wait() })
	for i := range b.acked {
		r := trading(t, address, i)
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r.meets(5)
				r.settle()
				b.acked[i].Store(r.ids)
			}
		})
	}
	t.Cleanup(b.stop) // before the connections are closed
	return b
}

func (b *backing) seen() (ids [3]uint64) {
	for i := range b.acked {
		ids[i] = b.acked[i].Load()
	}
	return ids
}

// has starts a server on a restored directory and requires all orders up to those ids.
func (b *backing) has(dir string, ids [3]uint64) {
	t := b.t
	t.Helper()
	p, address := serving(t, dir)
	for i, id := range ids {
		account := fmt.Sprint(2*i + 1)
		out, code := ask(t, address, "", "position", account, "--account", account, "--json")
		_, rest, _ := strings.Cut(out, `"last_client_order_id":`)
		var last uint64
		if _, err := fmt.Sscan(rest, &last); err != nil || code != 0 || last < id {
			t.Errorf("account %s: order %d was acknowledged before the backup, the last one restored is %d: %s",
				account, id, last, out)
		}
		expect(t, address, 0, "buy "+account+" 1 @ 1 --account "+account, "accepted")
	}
	p.signal(syscall.SIGTERM)
	p.ends(0, "drained in")
}

func TestBackupsOfRunningServer(t *testing.T) {
	b := trades(t)
	rounds := 30
	if testing.Short() {
		rounds = 5
	}
	var first, last uint64
	for n := range rounds {
		place := t.TempDir()
		target, dir := filepath.Join(place, "backup"), filepath.Join(place, "data")
		before := b.seen()
		out, problems, code := local("backup", "--data-dir", b.dir, "--json", target)
		var made copied
		if err := json.Unmarshal([]byte(out), &made); err != nil || code != 0 || made.Last <= last {
			t.Fatalf("backup %d: exit code %d, %v, %s%s", n, code, err, out, problems)
		}
		first, last = made.First, made.Last
		summary, problems, code := local("journal", "verify", "--data-dir", target)
		if code != 0 || !strings.Contains(summary, fmt.Sprintf("%d to %d:", made.First, made.Last)) {
			t.Fatalf("exit code %d, %s%s", code, summary, problems)
		}
		if out, problems, code = local("restore", "--data-dir", dir, target); code != 0 ||
			!strings.Contains(out, fmt.Sprintf("last event  %d\n", made.Last)) {
			t.Fatalf("exit code %d, %s%s", code, out, problems)
		}
		b.has(dir, before)
	}
	if first == 1 {
		t.Error("no segment was removed: the test is meant to meet that")
	}
	b.stop()
	b.p.signal(syscall.SIGTERM)
	b.p.ends(0, "drained in")
}

// The commands of docs/backup.md, in its order, beside a running server.
func TestProcedureOfBackupPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/backup.md")
	if err != nil {
		t.Fatal(err)
	}
	b := trades(t)
	place := t.TempDir()
	here := strings.NewReplacer("/var/lib/sluice-restored", filepath.Join(place, "restored"),
		"/var/lib/sluice", b.dir, "/backup/monday", filepath.Join(place, "monday"))
	before := b.seen()
	var done []string
	for line := range strings.Lines(string(page)) {
		text, found := strings.CutPrefix(line, "    sluice ")
		if !found {
			continue
		}
		args := strings.Fields(here.Replace(text))
		done = append(done, args[0])
		if args[0] == "serve" {
			b.has(args[len(args)-1], before)
			continue
		}
		if out, problems, code := local(args...); code != 0 {
			t.Fatalf("%s: exit code %d, %s%s", text, code, out, problems)
		}
	}
	if want := "backup journal restore serve"; strings.Join(done, " ") != want {
		t.Errorf("the page has the commands %q, want %q", done, want)
	}
}

// The commands of docs/backup.md for the shipped unit. What only systemd and root can do is replaced.
func TestProcedureOfBackupPageUnderSystemd(t *testing.T) {
	page, err := os.ReadFile("../../docs/backup.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "### Under the shipped systemd unit")
	_, block, _ = strings.Cut(block, "```\n")
	block, _, found := strings.Cut(block, "```\n")
	for _, file := range []string{"sluice.yaml data-dir: /var/lib/sluice", "sluice.service User=sluice"} {
		name, line, _ := strings.Cut(file, " ")
		if text, err := os.ReadFile("../../deploy/" + name); err != nil || !strings.Contains(string(text), line+"\n") {
			t.Errorf("%s has no line %q, from which the page starts: %v", name, line, err)
		}
	}
	b := trades(t)
	target := filepath.Join(t.TempDir(), "monday")
	here := strings.NewReplacer("/var/lib/sluice", b.dir, "/backup/monday", target)
	before := b.seen()
	if out, problems, code := local("backup", "--data-dir", b.dir, target); code != 0 {
		t.Fatalf("exit code %d, %s%s", code, out, problems)
	}
	var done []string
	for line := range strings.Lines(block) {
		words := strings.Fields(here.Replace(line))
		done = append(done, words[0])
		switch strings.Join(words[:2], " ") {
		case "systemctl stop":
			b.stop()
			b.p.signal(syscall.SIGTERM)
			b.p.ends(0)
		case "mv " + b.dir:
			if err := os.Rename(words[1], words[2]); err != nil {
				t.Fatal(err)
			}
		case "sluice restore":
			if out, problems, code := local(words[1:]...); code != 0 {
				t.Fatalf("%s: exit code %d, %s%s", line, code, out, problems)
			}
		case "chown -R":
			if words[2] != "sluice:sluice" || words[3] != b.dir {
				t.Errorf("%s: want the user of the unit and its directory", line)
			}
		case "systemctl start":
			b.has(b.dir, before)
		case "systemctl status":
		default:
			t.Errorf("the page has a command that this test does not know: %s", line)
		}
	}
	if want := "systemctl mv sluice chown systemctl systemctl"; !found || strings.Join(done, " ") != want {
		t.Errorf("the page has the commands %q, want %q", done, want)
	}
}

func TestBackupIsNotServed(t *testing.T) {
	dir, target := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "backup")
	p, address := serving(t, dir)
	expect(t, address, 0, "sell 3 10 @ 101", "accepted")
	p.signal(syscall.SIGTERM)
	p.ends(0)
	if out, problems, code := local("backup", "--data-dir", dir, target); code != 0 {
		t.Fatal(code, out, problems)
	}
	p = start(t, "serve", "--listen-tcp", "127.0.0.1:0", "--admin-address", "127.0.0.1:0", "--data-dir", target)
	p.ends(1, "is a backup", "sluice restore")
	for _, args := range [][]string{
		{"journal", "skip", "1", "--data-dir", target},
		{"backup", "--data-dir", dir, target},
		{"backup", "--data-dir", dir, filepath.Join(dir, "b")},
		{"backup", "--data-dir", t.TempDir(), filepath.Join(t.TempDir(), "b")},
		{"restore", "--data-dir", dir, target},
		{"restore", "--data-dir", filepath.Join(t.TempDir(), "r"), dir},
	} {
		if out, problems, code := local(args...); code != 1 {
			t.Errorf("%v: exit code %d, %s%s", args, code, out, problems)
		}
	}
	for _, args := range []string{"backup", "restore", "backup a b", "restore --force a"} {
		if _, problems, code := local(strings.Fields(args)...); code != exitUsage {
			t.Errorf("%v: exit code %d, %s", args, code, problems)
		}
	}
}

// The error of a copy that ended early says what to do, and nothing is left.
func TestUnfinishedCopyNamesTheCause(t *testing.T) {
	dir, place := filepath.Join(t.TempDir(), "data"), t.TempDir()
	p, address := serving(t, dir)
	expect(t, address, 0, "sell 3 10 @ 101", "accepted")
	p.signal(syscall.SIGTERM)
	p.ends(0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := node.Backup(ctx, dir, filepath.Join(place, "backup"))
	if got := unfinishedCopy(ctx, err); !strings.HasPrefix(got.Error(), "interrupted") {
		t.Errorf("%v, want interrupted", got)
	}
	_, problems, code := local("restore", "--data-dir", filepath.Join(place, "data"), filepath.Join(place, "none"))
	if code != 1 || !strings.Contains(problems, "does not exist") {
		t.Errorf("exit code %d, %s", code, problems)
	}
	if left, err := os.ReadDir(place); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	none := &os.PathError{Op: "open", Path: "segment", Err: syscall.EMFILE}
	if got := unfinishedCopy(t.Context(), none); !errors.Is(got, syscall.EMFILE) ||
		!strings.Contains(got.Error(), "ulimit -n") {
		t.Errorf("%v, want the remedy", got)
	}
}
