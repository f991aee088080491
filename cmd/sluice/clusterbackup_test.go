//go:build linux

package main

import (
	"crypto/sha256"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inspection is what the tests read of the JSON of backup and inspect.
type inspection struct {
	Cluster    string
	Node       uint8
	Generation uint8
	Last       uint64
	Policy     string
	Taken      string
	Backup     bool
	Writing    bool
	Problems   []string
	Member     *struct{ Committed, Index uint64 }
	Tail       []struct{ Seq uint64 } `json:"last_events"`
}

// inspects runs a command that prints an inspection.
func inspects(t *testing.T, want int, words ...string) (i inspection) {
	t.Helper()
	out, problems, code := local(append([]string{"cluster"}, words...)...)
	if err := json.Unmarshal([]byte(out), &i); err != nil || code != want {
		t.Fatalf("%v: exit code %d, %v: %s%s", words, code, err, out, problems)
	}
	return i
}

// A backup of a running member becomes a new cluster, which goes on behind its last event.
func TestClusterBackupIsRestored(t *testing.T) {
	p, _, dir := servingAlone(t)
	for range 3 {
		expect(t, p.address(), 0, "buy 3 10 @ 101 --account 5", "accepted")
	}
	target := filepath.Join(t.TempDir(), "backup")
	made := inspects(t, 0, "backup", "--data-dir", dir, "--json", target)
	if at, err := time.Parse(time.RFC3339, made.Taken); err != nil || time.Since(at) > time.Hour || !made.Backup ||
		made.Last < 3 || made.Member == nil || made.Node != 1 || len(made.Cluster) != 32 || made.Tail != nil {
		t.Fatalf("%+v, %v", made, err)
	}
	if now := inspects(t, 0, "inspect", "--json", "--events", "2", dir); !now.Writing || now.Last < made.Last ||
		now.Cluster != made.Cluster || len(now.Tail) != 2 || now.Tail[1].Seq != now.Last {
		t.Errorf("%+v", now)
	}
	for _, tt := range []struct {
		code  int
		want  string
		words []string
	}{
		{exitFailure, "a server has", []string{"cluster", "restore", "--data-dir",
			filepath.Join(t.TempDir(), "x"), dir}},
		{exitFailure, "sluice cluster restore", []string{"restore", "--data-dir",
			filepath.Join(t.TempDir(), "x"), target}},
		{exitFailure, "sluice cluster backup", []string{"backup", "--data-dir", dir, filepath.Join(t.TempDir(), "x")}},
		{exitFailure, "exists already", []string{"cluster", "backup", "--data-dir", dir, target}},
		{exitFailure, "is not the data directory of a member", []string{"cluster", "inspect", t.TempDir()}},
		{exitFailure, "is not the data directory of a member",
			[]string{"cluster", "backup", "--data-dir", t.TempDir(), "x"}},
		{exitUsage, "the new cluster begins with one",
			[]string{"cluster", "restore", "--member", "1=h:1,h:2", "--member",
				"2=h:3,h:4", target}},
		{exitUsage, "name one directory: TARGET", []string{"cluster", "backup"}},
	} {
		if out, problems, code := local(tt.words...); code != tt.code || !strings.Contains(problems, tt.want) {
			t.Errorf("%v: exit code %d, %s%s; want %q", tt.words, code, out, problems, tt.want)
		}
	}
	p.signal(syscall.SIGTERM)
	p.ends(0)
	address := p.address()
	start(t, "serve", "--cluster", "--data-dir", target, "--listen-tcp", address, "--admin-address", "127.0.0.1:0").
		ends(exitFailure, "is a backup", "sluice cluster restore")

	again := filepath.Join(t.TempDir(), "again")
	if out, problems, code := local("cluster", "restore", "--data-dir", again, target); code != 0 ||
		!strings.Contains(out, "generation 1") || !strings.Contains(out, "sluice serve --cluster --data-dir "+again) {
		t.Fatalf("exit code %d: %s%s", code, out, problems)
	}
	if now := inspects(t, 0, "inspect", "--json", again); now.Cluster == made.Cluster ||
		now.Last != made.Last || now.Generation != 1 {
		t.Errorf("%+v", now)
	}
	q := start(t, "serve", "--cluster", "--data-dir", again, "--listen-tcp", address, "--admin-address", "127.0.0.1:0")
	q.err.await(t, "msg=serving")
	expect(t, address, 0, "position 5 --account 5", "accepted 3, last #3")
	expect(t, address, 0, "buy 3 10 @ 101 --account 5", "accepted   #4")
}

// digests are those of all files below a directory.
func digests(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	all := map[string][32]byte{}
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var text []byte
			text, err = os.ReadFile(path)
			all[path] = sha256.Sum256(text)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// Of a damaged directory, inspect prints what can be read and what is wrong, and changes nothing.
func TestClusterInspectReadsDamagedDirectories(t *testing.T) {
	p, _, dir := servingAlone(t, "--snapshot-events", "4")
	for range 8 {
		expect(t, p.address(), 0, "buy 3 10 @ 101", "accepted")
	}
	address := p.address()
	p.signal(syscall.SIGTERM)
	p.ends(0)
	was := inspects(t, 0, "inspect", "--json", dir)
	if was.Last < 8 || was.Cluster == "" || was.Problems != nil {
		t.Fatalf("%+v", was)
	}
	for _, tt := range []struct {
		file, want string
		lost       func(now *inspection) bool // also what cannot be known any more; nil: nothing
	}{
		{"cluster", "membership file", func(now *inspection) bool { return now.Cluster == "" && now.Last == was.Last }},
		{"genesis", "genesis", nil},
		{"journal/FORMAT", "FORMAT", func(now *inspection) bool { return now.Cluster == was.Cluster }},
		{"journal/INCARNATION", "INCARNATION", nil},
		{"journal/wal/*.wal", "damaged", func(now *inspection) bool {
			return now.Cluster == was.Cluster &&
				now.Member != nil
		}},
	} {
		files, err := filepath.Glob(filepath.Join(dir, tt.file))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", tt.file, files, err)
		}
		path := files[len(files)-1]
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bad := append([]byte(nil), text...)
		bad[min(len(bad)/2, 200)] ^= 0x40
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		before := digests(t, dir)
		now := inspects(t, exitFailure, "inspect", "--json", dir)
		intact := now.Cluster == was.Cluster && now.Last == was.Last && now.Member != nil &&
			now.Member.Index == was.Member.Index
		if tt.lost != nil {
			intact = tt.lost(&now)
		}
		if !intact || !strings.Contains(strings.Join(now.Problems, "\n"), tt.want) {
			t.Errorf("%s: %+v", tt.file, now)
		}
		if out, problems, code := local("cluster", "inspect", dir); code != exitFailure ||
			!strings.Contains(out, "  problem     ") || !strings.Contains(problems, "is damaged, or cannot be used") {
			t.Errorf("%s: exit code %d: %s%s", tt.file, code, out, problems)
		}
		for path, sum := range digests(t, dir) {
			if before[path] != sum {
				t.Errorf("%s: inspect changed %s", tt.file, path)
			}
		}
		if tt.want == "damaged" { // it neither goes back to a backup nor begins with an empty directory
			p := start(t, "serve", "--cluster", "--data-dir", dir, "--listen-tcp", address,
				"--admin-address", "127.0.0.1:0")
			p.ends(exitFailure, "sluice cluster replace")
			if said := p.err.String() + strings.Join(now.Problems, ""); strings.Contains(said, "empty directory") {
				t.Error(said)
			}
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "journal")); err != nil {
		t.Fatal(err)
	}
	if now := inspects(t, exitFailure, "inspect", "--json", dir); now.Cluster != was.Cluster || now.Member != nil {
		t.Errorf("without a journal: %+v", now)
	}
}
