package node

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/actors"
	"sluice/transport"
	"sluice/transport/listen"
)

// Prepare rejects what Open would reject, without touching the data directory. It tells mistakes from
// what may change by itself.
func TestPrepareNamesWhatIsWrong(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	dir := t.TempDir()
	name := func(n string) string { return filepath.Join(dir, n) }
	if err := errors.Join(os.WriteFile(name("file"), nil, 0o600), os.Mkdir(name("open"), 0o700),
		os.Chmod(name("open"), 0o707), os.Mkdir(name("group"), 0o700),
		os.Chmod(name("group"), 0o2775), os.Symlink(name("nowhere"), name("dangling")),
		os.Symlink(name("group"), name("link"))); err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		name, want  string
		unavailable bool
		edit        func(c *bookConfig)
	}{
		{"nothing", "", false, func(*bookConfig) {}},
		{"an address in use", "another process listens", true, func(c *bookConfig) {
			c.Listen.Endpoints[0].Address = busy.Addr().String()
		}},
		{"missing keys", "no such file", true, func(c *bookConfig) { c.KeysFile = name("keys") }},
		{"limits of the pipeline", "hard limit", false, func(c *bookConfig) {
			c.Pipeline.Limits = []transport.Limits{{HardBytes: 1}}
		}},
		{"a CPU that may not be used", "may not use CPU 1000", false, func(c *bookConfig) {
			c.Pipeline.Idle, c.Pipeline.CPUs = actors.IdleSpin, []int{1000}
		}},
		{"a file as data directory", "not a directory", false, func(c *bookConfig) {
			c.DataDir = name("file")
		}},
		{"a data directory that everybody may write", "chmod o-w", false, func(c *bookConfig) {
			c.DataDir = name("open")
		}},
		{"a link to nothing", "symbolic link to " + name("nowhere"), true, func(c *bookConfig) {
			c.DataDir = name("dangling")
		}},
		{"a data directory of a group", "", false, func(c *bookConfig) { c.DataDir = name("group") }},
		{"a link to it", "", false, func(c *bookConfig) { c.DataDir = name("link") }},
	} {
		t.Run(v.name, func(t *testing.T) {
			c := config(dir, transport.ModePoll, &lines{})
			v.edit(&c)
			p, err := Prepare(c)
			if err == nil {
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			}
			if (err != nil) != (v.want != "") || err != nil &&
				(!strings.Contains(err.Error(), v.want) || listen.Unavailable(err) != v.unavailable) {
				t.Errorf("%v, unavailable: %v", err, listen.Unavailable(err))
			}
			if _, err := os.Stat(name("data")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the data directory was made: %v", err)
			}
		})
	}
}

// What a program opens beside its node is open before the first client is accepted. Its error ends
// the start, and leaves nothing open.
func TestBeforeClientsIsBeforeClients(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		dir := t.TempDir()
		for _, planted := range []error{errors.New("planted"), nil} {
			c := config(dir, mode, &lines{})
			called := false
			c.BeforeClients = func(n Running) error {
				called = true
				if n.Ready() || n.Connections() != 0 {
					t.Error("clients are served already")
				}
				return planted
			}
			n, err := Open(t.Context(), c)
			if !called || !errors.Is(err, planted) {
				t.Fatalf("called: %v, %v; want %v", called, err, planted)
			}
			if err == nil {
				if !n.Ready() {
					t.Error("not ready")
				}
				drain(t, n)
			}
		}
	})
}

// An opening that fails when all but the sequencer is made leaves no goroutine and no descriptor.
func TestFailedOpenLeavesNothing(t *testing.T) {
	leaks(t)
	c := config(t.TempDir(), transport.ModePoll, &lines{})
	c.Application = newFull
	n, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	drain(t, n)
	c.Application = newPlain // it has not the rules in force
	if _, err = Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), "rules") {
		t.Errorf("error %v, want one of the sequencer about rules", err)
	}
}
