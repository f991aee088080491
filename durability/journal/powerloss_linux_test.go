package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"sluice/durability/journal/powerloss"
)

// lifetimes runs lifetimes in one directory, one after the other. A lifetime ends normally, by a
// kill at a random operation, or by a kill with a power loss, whose result the next one begins
// with. While the child is stopped at an operation, several power losses are tried at that point,
// each in a directory of its own.
type lifetimes struct {
	t           testing.TB
	rng         *rand.Rand
	folder      string // parent of all directories
	root        string // of the current lifetime; the journal is in data/journal, which does not exist yet
	disk        *powerloss.Disk
	oracle      *oracle
	perPoint    int
	ignoredSync string // syncs of a path with this ending are ignored by the disk; empty for none
	ignoreFrom  int    // from that many acknowledged events on

	willKill  bool     // the lifetime will be killed
	killAfter int      // after that many operations
	after     string   // at the first operation after one of this kind; empty for any
	last      string   // kind of the previous operation
	killed    bool     // the lifetime was killed
	recent    []string // operations and messages, for the report
	failure   error
	counts    *counts
}

type counts struct {
	lifetimes, kills, losses int
	operations               int
	points, same             int
	names                    map[string]int
}

const journalFolder = "data/journal"

func newLifetimes(t testing.TB, seed uint64, folder string, perPoint int, c *counts) *lifetimes {
	s := &lifetimes{t: t, rng: rand.New(rand.NewPCG(seed, 2)), folder: folder, disk: powerloss.NewDisk(),
		oracle: newOracle(), perPoint: perPoint, counts: c}
	s.root = s.mkdir()
	return s
}

func (s *lifetimes) mkdir() string {
	dir, err := os.MkdirTemp(s.folder, "root-")
	if err != nil {
		s.t.Fatal(err)
	}
	return dir
}

// hook is called with each operation and message of the child before it happens.
func (s *lifetimes) hook(c powerloss.Call) powerloss.Answer {
	switch c.Name {
	case "read", "pread64", "lseek", "fstat", "getdents64", "flock":
		return powerloss.Answer{}
	}
	if s.failure != nil {
		return powerloss.Answer{Kill: true}
	}
	if c.Message != "" {
		s.recent = append(s.recent, c.Message)
		s.failure = s.oracle.observe(c.Message)
	} else {
		s.counts.operations++
		s.killAfter--
		if due := s.killAfter <= 0 && s.willKill; due && (s.after == "" || s.after == s.last) {
			s.killed = true
			return powerloss.Answer{Kill: true}
		}
		s.last = c.Name + filepath.Ext(c.Path+c.To)
		c.Path, c.To = s.relative(c.Path), s.relative(c.To)
		s.recent = append(s.recent,
			fmt.Sprintf("%s %s %s at %d, %d bytes", c.Name, c.Path, c.To, c.Off,
				len(c.Data)+int(c.Size)))
		s.counts.names[c.Name]++
		if s.ignoredSync == "" || int(s.oracle.acked) < s.ignoreFrom ||
			c.Name != "fsync" && c.Name != "fdatasync" || !strings.HasSuffix(c.Path, s.ignoredSync) {
			s.failure = s.disk.Operation(c)
		}
	}
	if s.failure == nil && (c.Name != "openat" || c.Flag&os.O_CREATE != 0) { // opening without O_CREATE changes nothing
		s.failure = s.losePower()
	}
	if s.failure != nil {
		return powerloss.Answer{Kill: true}
	}
	return powerloss.Answer{}
}

func (s *lifetimes) relative(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, s.root), "/")
}

// losePower tries some power losses at this point; equal states count once. Each is checked on a
// goroutine of its own.
func (s *lifetimes) losePower() error {
	seen := map[uint64]bool{}
	found := make(chan error, s.perPoint)
	for range s.perPoint {
		left := s.disk.Crash(s.rng)
		hash := left.Hash()
		if seen[hash] {
			s.counts.same++
			found <- nil
			continue
		}
		seen[hash] = true
		s.counts.points++
		twice := s.counts.points%4 == 0
		dir := s.mkdir()
		go func() { found <- s.try(left, dir, twice) }()
	}
	var err error
	for range s.perPoint {
		err = errors.Join(err, <-found)
	}
	return err
}

func (s *lifetimes) try(left *powerloss.Disk, dir string, twice bool) error {
	if err := left.Put(dir); err != nil {
		return err
	}
	if err := s.oracle.judge(filepath.Join(dir, journalFolder), twice); err != nil {
		return fmt.Errorf("%w\n%s", err, left.Listing())
	}
	return os.RemoveAll(dir)
}

// runOne runs the next lifetime and returns the error, if any.
func (s *lifetimes) runOne(seed uint64, steps int) error {
	s.counts.lifetimes++
	// Kills between a write, or a new name, and its sync are the most effective ones.
	s.killed, s.willKill, s.last = false, s.rng.IntN(4) > 0, ""
	s.killAfter = 1 + s.rng.IntN(steps*6)
	s.after = [...]string{"", "write.wal", "renameat.wal"}[s.rng.IntN(3)]
	s.oracle.ended = ""
	w := powerloss.Watch(s.t, "TestLifetimeChild", s.root, true, s.hook)
	if err := w.Tell(fmt.Sprintf("%d %d %s", seed, steps, journalFolder)); err != nil {
		return err
	}
	if err := w.End(); err != nil {
		return err
	}
	err := w.Wait()
	switch {
	case s.failure != nil:
		return fmt.Errorf("%w\nthe last operations:\n  %s", s.failure,
			strings.Join(s.recent[max(0, len(s.recent)-25):], "\n  "))
	case err != nil:
		return err
	case !s.killed && s.oracle.ended != "closed":
		return fmt.Errorf("the lifetime ended with %q", s.oracle.ended)
	case !s.killed:
		return s.disk.Compare(s.root)
	}
	s.counts.kills++
	if s.rng.IntN(2) == 0 {
		s.counts.losses++
		s.disk = s.disk.Crash(s.rng)
		s.root = s.mkdir()
		return s.disk.Put(s.root)
	}
	return nil
}

// runLifetimes runs lifetimes until there are that many points or an error.
func runLifetimes(t *testing.T, points, perPoint int, ignoredSync string, ignoreFrom int,
	c *counts) error {
	folder := fastFolder(t)
	for seed := uint64(1); c.points < points; seed++ {
		s := newLifetimes(t, seed, folder, perPoint, c)
		s.ignoredSync, s.ignoreFrom = ignoredSync, ignoreFrom
		for n := uint64(0); n < 12 && c.points < points; n++ {
			if err := s.runOne(seed*100+n, 3+s.rng.IntN(25)); err != nil {
				return fmt.Errorf("seed %d, lifetime %d, after %d operations: %w", seed, n,
					c.operations, err)
			}
		}
		if err := os.RemoveAll(folder); err != nil {
			return err
		}
		if err := os.Mkdir(folder, privateFolder); err != nil {
			return err
		}
	}
	return nil
}

// Each sync that the journal relies on is needed, and the test below detects its absence: on a disk
// that ignores the syncs of one kind of file or directory, it fails.
func TestIgnoredSyncIsDetected(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the same lifetimes a dozen times")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	for _, c := range []struct {
		ignoredSync string
		from        int
		what        string
	}{
		{".wal", 1, "the log: acknowledged before it is on disk"},
		{"/wal", 1, "the log's directory: a new segment without its name"},
		{"/wal", 0, "the log's directory, while it is made"},
		{"/journal", 0, "the directory: INCARNATION, FORMAT and the log itself"},
		{"data", 0, "the directory above, which is new too"},
		{"/snap", 0, "the snapshots' directory: the log is cut behind a snapshot without its name"},
		{"INCARNATION.tmp", 1, "the incarnation"},
		{".tmp", 1, "whatever gets its name only when it is complete"},
	} {
		t.Run(c.what, func(t *testing.T) {
			n := &counts{names: map[string]int{}}
			if err := runLifetimes(t, 6000, 2, c.ignoredSync, c.from, n); err == nil {
				t.Errorf("%d power losses without an error although the sync is ignored", n.points)
			} else {
				text, _, _ := strings.Cut(err.Error(), "\n")
				t.Logf("noticed at point %d: %s", n.points, text)
			}
		})
	}
}

// TestPowerLossAtEveryOperation tries 100,000 power losses with `SLUICE_SOAK=1 go test -run
// TestPowerLossAtEveryOperation -v ./durability/journal`. At every operation on a file of a
// journal, and at every acknowledgement, it tries several of the states that a file system may
// leave (see disk), opens each with the real recovery and compares the result with an oracle.
// Earlier lifetimes ended by kills and power losses as well, so recovery itself is interrupted at
// every operation.
func TestPowerLossAtEveryOperation(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // each Open leaves a few megabytes of buffers
	points, perPoint := 5000, 2
	switch {
	case os.Getenv("SLUICE_SOAK") != "":
		points, perPoint = 100_000, 6
	case testing.Short():
		points = 200
	}
	c := &counts{names: map[string]int{}}
	begin := time.Now()
	if err := runLifetimes(t, points, perPoint, "", 0, c); err != nil {
		t.Fatal(err)
	}
	spent := time.Since(begin)
	t.Logf("%d power-loss points, none lost or invented an event (%d more were equal to another "+
		"one); %d operations of %d lifetimes, "+
		"%d kills, %d of them with a power loss; %.0f points/s", c.points, c.same, c.operations,
		c.lifetimes, c.kills, c.losses,
		float64(c.points)/spent.Seconds())
	t.Logf("operations: %v", c.names)
	for _, name := range []string{"write", "fsync", "fdatasync", "ftruncate", "fallocate", "openat",
		"renameat", "unlinkat", "mkdirat"} {
		if c.names[name] == 0 {
			t.Errorf("no %s was seen, so the test proves nothing", name)
		}
	}
	if points > 1000 && (c.kills == 0 || c.losses == 0) {
		t.Errorf("%d kills, %d power losses between lifetimes", c.kills, c.losses)
	}
}
