package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/cmd/orderbook"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/transport"
	"sluice/transport/listen"
)

// R36: a disk that is full ends acknowledgements and the server, with a message; nothing
// acknowledged is lost.
func TestFullDiskEndsNode(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		leaks(t)
		dir := t.TempDir()
		disk := filepath.Join(dir, "data")
		if err := os.Mkdir(disk, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", 2600<<10)); err != nil {
			t.Skipf("needs to mount a small tmpfs to fill it, which needs root: %v", err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(disk, 0); err != nil {
				t.Error(err)
			}
		})
		log := &lines{}
		cfg := config(dir, mode, log)
		s, at := serve(t, cfg)
		c := dial(t, "tcp", at[0])
		acked := fillUp(c)
		select {
		case <-s.Ended():
		case <-time.After(patience):
			t.Fatal("the server goes on without a disk")
		}
		if err := s.Err(); !errors.Is(err, journal.ErrPoisoned) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("error %v, want that of the journal", err)
		}
		for _, want := range []string{"nothing more is acknowledged", disk, "free space"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log does not say %q:\n%s", want, log)
			}
		}
		if acked == 0 || acked > s.store.persisted.Load() {
			t.Fatalf("acknowledged up to %d, on disk up to %d", acked, s.store.persisted.Load())
		}
		if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT,
			fmt.Sprintf("size=%d", 16<<20)); err != nil {
			t.Fatal(err)
		}
		s, at = serve(t, cfg)
		if got := bookOf(s).Seq(); got < acked {
			t.Errorf("event %d was acknowledged, after the restart the last one is %d", acked, got)
		}
		c = dial(t, "tcp", at[0])
		c.command(position(1))
		c.expect(fmt.Sprintf("position seq=%d net=0 last=%d accepted=%d", s.store.recovery.Last,
			s.store.recovery.Last, s.store.recovery.Last), "end")
		drain(t, s)
	})
}

// fillUp sends orders, 64 at a time, until the connection ends, and returns the last one
// acknowledged.
func fillUp(c *trader) (acked uint64) {
	for id := uint64(1); ; {
		for range 64 {
			cmd := order(1, id, orderbook.Buy, 100, 1)
			if c.conn.Send(id, cmd.Tag, body(cmd)) != nil {
				return acked
			}
			id++
		}
		if c.conn.Flush() != nil {
			return acked
		}
		for acked < id-1 {
			text := c.next()
			var n, seq uint64
			if _, err := fmt.Sscanf(text, "accepted %d seq=%d", &n, &seq); err == nil && n == acked+1 {
				acked = n
			} else if text != "end" {
				return acked
			}
		}
	}
}

func TestOpenNamesWhatIsWrongOnDisk(t *testing.T) {
	for _, c := range []spoiling{
		{"a flipped bit in the log", func(t *testing.T, cfg *bookConfig) {
			used(t, *cfg)
			flip(t, filepath.Join(cfg.DataDir, "journal/wal"))
		}, journal.ErrCorrupt, "journal/wal"},
		{"a newer format", func(t *testing.T, cfg *bookConfig) {
			used(t, *cfg)
			write(t, filepath.Join(cfg.DataDir, "journal/FORMAT"), "sluice journal 99\n")
		}, journal.ErrNewerFormat, "99"},
		{"an older format", func(t *testing.T, cfg *bookConfig) {
			used(t, *cfg)
			write(t, filepath.Join(cfg.DataDir, "journal/FORMAT"), "sluice journal 1\n")
		}, journal.ErrOlderFormat, "has format 1"},
		{"the limits' file of another directory", func(t *testing.T, cfg *bookConfig) {
			used(t, *cfg)
			other := journal.Identity(bytes.Repeat([]byte{0x5a}, 16))
			write(t, filepath.Join(cfg.DataDir, "genesis"), string(journal.AppendOwned(nil, other, nil)))
		}, journal.ErrForeign, "genesis belongs to directory " + strings.Repeat("5a", 16) + ", not to"},
		{"a limits' file without an identity", func(t *testing.T, cfg *bookConfig) {
			used(t, *cfg)
			write(t, filepath.Join(cfg.DataDir, "genesis"), "something else")
		}, nil, "does not begin with the identity of a directory"},
		{"a directory in use", func(t *testing.T, cfg *bookConfig) {
			serve(t, *cfg)
			cfg.Listen.Endpoints = cfg.Listen.Endpoints[:1] // its socket is in use as well
		},
			journal.ErrLocked, "is locked by process"},
		{"other limits of the book", func(t *testing.T, cfg *bookConfig) {
			used(t, *cfg)
			cfg.Application = func() bookApp { return newBook(orderbook.Config{MaxOrders: 17}) }
		}, nil, "open with the configuration of the application that this data directory was made with"},
		{"the limits' file lost", func(t *testing.T, cfg *bookConfig) {
			used(t, *cfg)
			if err := os.Remove(filepath.Join(cfg.DataDir, "genesis")); err != nil {
				t.Fatal(err)
			}
		}, nil, "genesis is missing"},
		{"a data directory that is a file",
			func(t *testing.T, cfg *bookConfig) { write(t, cfg.DataDir, "x") }, nil,
			"not a directory"},
		{"a data directory that holds something else", func(t *testing.T, cfg *bookConfig) {
			write(t, filepath.Join(cfg.DataDir, "journal/photo"), "x")
		}, nil, "is not a journal"},
		{"an address in use", func(t *testing.T, cfg *bookConfig) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			cfg.Listen.Endpoints[0].Address = l.Addr().String()
		}, syscall.EADDRINUSE, "127.0.0.1"},
		{"a pipeline that cannot be",
			func(t *testing.T, cfg *bookConfig) { cfg.Pipeline.Slots = 1000 }, nil,
			"slot ring of 1000 slots"},
	} {
		t.Run(c.name, c.test)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700),
		os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// flip changes a bit in the middle of the used part of the log.
func flip(t *testing.T, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil || len(files) == 0 {
		t.Fatal("no log", err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	used := len(b)
	for used > 0 && b[used-1] == 0 {
		used--
	}
	at := used / 2
	for b[at] == 0 { // it may be padding, of which a bit says nothing
		at--
	}
	b[at] ^= 4
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOpenNamesWhatIsWrongInTheConfiguration(t *testing.T) {
	for _, c := range []struct {
		name, want string
		spoil      func(*bookConfig)
	}{
		{"no application", "Application is nil", func(c *bookConfig) { c.Application = nil }},
		{"no encoder", "Encoder is nil", func(c *bookConfig) { c.Encoder = nil }},
		{"a negative time for a drain", "DrainTimeout is -1ns",
			func(c *bookConfig) { c.DrainTimeout = -1 }},
		{"no data directory", "DataDir is empty", func(c *bookConfig) { c.DataDir = "" }},
		{"no endpoint", "0 endpoints", func(c *bookConfig) { c.Listen.Endpoints = nil }},
		{"authentication without keys", "no authorized keys",
			func(c *bookConfig) { c.Listen.Endpoints[0].Open = false }},
		{"a keys file that is not there", "no such file",
			func(c *bookConfig) { c.KeysFile = "/does/not/exist" }},
		{"an open endpoint to the world", "not a loopback address",
			func(c *bookConfig) { c.Listen.Endpoints[0].Address = "0.0.0.0:0" }},
		{"a policy that is none", "persisted", func(c *bookConfig) { c.Policy = "persistent>=1" }},
		{"a policy that needs more nodes", "this node has no replicas",
			func(c *bookConfig) { c.Policy = "hybrid" }},
		{"a queue that is no power of two", "QueueBytes is 3000000; use a power of two",
			func(c *bookConfig) { c.QueueBytes = 3000000 }},
		{"a queue too small for a request", "QueueBytes is 1024",
			func(c *bookConfig) { c.QueueBytes = 1024 }},
		{"a journal ring too small", "Journal.RingBytes is 64",
			func(c *bookConfig) { c.Journal.RingBytes = 64 }},
		{"requests larger than an event", "does not fit the journal",
			func(c *bookConfig) { c.Listen.MaxRequest = 1 << 20 }},
		{"a batch of nothing", "Journal.BatchBytes is -1",
			func(c *bookConfig) { c.Journal.BatchBytes = -1 }},
		{"a time to fail below zero", "FailTimeout is -1s",
			func(c *bookConfig) { c.FailTimeout = -time.Second }},
		{"two sources of keys", "both KeysFile and Listen.Keys", func(c *bookConfig) {
			c.KeysFile, c.Listen.Keys = "x", new(listen.Keyring)
		}},
	} {
		cfg := config(t.TempDir(), transport.ModePoll, &lines{})
		c.spoil(&cfg)
		if _, err := Open(context.Background(), cfg); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %q", c.name, err, c.want)
		}
	}
}

// A policy that can never be met answers nothing when forced, and everything once it is swapped.
func TestForcedPolicyWaitsForSwap(t *testing.T) {
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	cfg.Policy, cfg.ForcePolicy = "hybrid", true
	s, at := serve(t, cfg)
	c := dial(t, "tcp", at[0])
	c.command(order(1, 1, orderbook.Buy, 100, 1))
	until(t, "the event on disk", func() bool { return s.store.persisted.Load() == 1 })
	other := dial(t, "tcp", at[0])
	other.send(0x2F, nil)
	other.expect("error", "end") // overtakes; and nothing of the order arrived at the other client:
	if err := c.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.conn.Next(); err == nil {
		t.Fatal("answered under a policy that is not met")
	}
	if err := s.pipeline.Policy().Swap(context.Background(), durability.Local()); err != nil {
		t.Fatal(err)
	}
	c.expect("accepted 1 seq=1", "end")
	drain(t, s)
}

// restless are cursors that move at every look.
type restless struct{ durability.Source }

func (restless) Snapshot(*durability.View) bool { return false }

func TestPolicyThatCannotBeJudgedIsRefused(t *testing.T) {
	for name, p := range map[string]durability.Policy{"never met": durability.Hybrid(),
		"met": durability.Local()} {
		if err := judge(p, restless{}); !errors.Is(err, ErrRefused) ||
			!strings.Contains(err.Error(), "ask again") {
			t.Errorf("%s: %v, want a refusal that says to ask again", name, err)
		}
		if err := judge(p, durability.NewCursors(0)); errors.Is(err,
			ErrRefused) != (name == "never met") {
			t.Errorf("%s, before a node on its own: %v", name, err)
		}
	}
}

// The panic of one component ends the whole with its error.
func TestFailedComponentEndsNode(t *testing.T) {
	for _, c := range []struct {
		name, want string
		cause      func(t *testing.T, cfg *bookConfig)
		fire       func(t *testing.T, s *bookNode, at []string)
	}{
		{"the journal's goroutine", "the disk is on fire", func(t *testing.T, cfg *bookConfig) {
			cfg.Journal.BeforeSync = func() { panic("the disk is on fire") }
		}, func(t *testing.T, s *bookNode, at []string) {
			dial(t, "tcp", at[0]).command(order(1, 1, orderbook.Buy, 100, 1))
		}},
		{"the listener", "a reader fell over", func(*testing.T, *bookConfig) {},
			func(t *testing.T, s *bookNode, at []string) {
				s.fail(errors.New("a reader fell over"))
			}},
		{"a ring of the pipeline", "ring in doubt", func(t *testing.T, cfg *bookConfig) {
			cfg.Pipeline.OpenRing = func(_ int, rc transport.RingConfig) (transport.Ring, error) {
				r, _, err := transport.Open(transport.ModePoll, rc)
				return &doubtful{r}, err
			}
		}, func(t *testing.T, s *bookNode, at []string) {
			dial(t, "tcp", at[0]).command(order(1, 1, orderbook.Buy, 100, 1))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaks(t)
			log := &lines{}
			cfg := config(t.TempDir(), transport.ModePoll, log)
			c.cause(t, &cfg)
			s, at := serve(t, cfg)
			c.fire(t, s, at)
			select {
			case <-s.Ended():
			case <-time.After(patience):
				t.Fatal("the server goes on")
			}
			if err := s.Err(); err == nil || !strings.Contains(err.Error(), c.want) ||
				!strings.Contains(log.String(), c.want) {
				t.Errorf("error %v, want one that says %q, also in the log:\n%s", err, c.want, log)
			}
			if s.Ready() {
				t.Error("still ready")
			}
		})
	}
}

// doubtful is a ring that fails at its first submit.
type doubtful struct{ transport.Ring }

func (*doubtful) Submit() error { return fmt.Errorf("test: %w", transport.ErrRingInDoubt) }
