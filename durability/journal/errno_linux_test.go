package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/durability/journal/powerloss"
)

// failures is a series of lifetimes in one child; in each, one system call fails.
type failures struct {
	t      *testing.T
	folder string
	child  *powerloss.Process
	runs   int // in this child

	// State of the current run, written by the supervisor's goroutine until it sends on ended. The
	// lock is needed because a log that failed to open may still be running from an earlier run.
	lock       sync.Mutex
	run        string // its directory
	disk       *powerloss.Disk
	oracle     *oracle
	failAt     int // the n-th call on the journal's files, from 1
	errno      unix.Errno
	calls      int
	failed     powerloss.Call // the call that failed; its name is empty if the lifetime ended first
	unsyncable string         // a file whose sync failed: no sync may follow
	wrong      error
	look       func(powerloss.Call) // called with each call; may set failAt to calls; optional
	panics     int                  // of the underlying log, while it was created
	ended      chan bool
}

func (f *failures) hook(c powerloss.Call) powerloss.Answer {
	f.lock.Lock()
	defer f.lock.Unlock()
	if c.Message != "" {
		f.wrong = errors.Join(f.wrong, f.oracle.observe(c.Message))
		if c.Message == "closed" || strings.HasPrefix(c.Message, "error") {
			f.ended <- true
		}
		return powerloss.Answer{}
	}
	if c.Path != f.run && !strings.HasPrefix(c.Path, f.run+"/") {
		return powerloss.Answer{} // by a goroutine left running by an earlier lifetime
	}
	f.calls++
	isSync := c.Name == "fsync" || c.Name == "fdatasync"
	if isSync && c.Path == f.unsyncable {
		f.wrong = errors.Join(f.wrong, fmt.Errorf("%s of %s again after a failure", c.Name, c.Path))
	}
	relative := c
	relative.Path = strings.TrimPrefix(strings.TrimPrefix(c.Path, f.run), "/")
	relative.To = strings.TrimPrefix(strings.TrimPrefix(c.To, f.run), "/")
	if f.look != nil {
		f.look(relative)
	}
	if f.calls == f.failAt {
		f.failed = relative
		// An interrupted sync has not failed: package os repeats it, which is allowed.
		if isSync && f.disk.Has(relative.Path) && f.errno != unix.EINTR {
			f.unsyncable = c.Path
			f.disk.Refuse(relative.Path)
		}
		return powerloss.Answer{Errno: f.errno}
	}
	f.wrong = errors.Join(f.wrong, f.disk.Operation(relative))
	return powerloss.Answer{}
}

// live runs one lifetime on a copy of a disk with the n-th call failing, and checks the result: the
// files as they are, and after a power loss. It reports whether the lifetime reached that call.
func (f *failures) live(n int, errno unix.Errno, b base) (reached bool, err error) {
	if f.child == nil || f.runs == 200 { // a failed Open leaves descriptors of the log open
		f.stop()
		f.child, f.runs = powerloss.Watch(f.t, "TestLifetimeChild", f.folder, true, f.hook), 0
	}
	f.runs++
	dir, err := os.MkdirTemp(f.folder, "run-")
	if err != nil {
		return false, err
	}
	if err := b.disk.Put(dir); err != nil {
		return false, err
	}
	f.lock.Lock()
	f.run, f.disk, f.oracle, f.failAt, f.errno = dir, b.disk.Copy(), b.known.copy(), n, errno
	f.calls, f.failed, f.unsyncable, f.wrong = 0, powerloss.Call{}, "", nil
	f.lock.Unlock()
	if err := f.child.Tell(fmt.Sprintf("7 20 %s/%s", filepath.Base(dir), journalFolder)); err != nil {
		return false, err
	}
	select {
	case <-f.ended:
	case err := <-f.child.Done():
		f.child.Done() <- err
		return false, fmt.Errorf("the child ended: %w %s", err, f.child.Output())
	}
	f.lock.Lock()
	err, reached = errors.Join(f.wrong, f.complaint()), f.failed.Name != ""
	f.lock.Unlock()
	if err != nil {
		return true, err
	}
	return reached, f.judge(dir)
}

// complaint checks the content of the error, if the failure led to one.
func (f *failures) complaint() error {
	message := f.oracle.ended
	switch {
	case message == "closed":
		return nil
	case f.errno == unix.EINTR && f.failed.Name == "fdatasync" && !strings.HasPrefix(message, "error open"):
		return fmt.Errorf("an interrupted sync ended the journal: %q", message)
	case f.failed.Name == "":
		return fmt.Errorf("nothing failed, but the lifetime ended with %q", message)
	case strings.HasPrefix(message, "error run") && !strings.Contains(message, "[poison "):
		return fmt.Errorf("not a PoisonError with file and operation: %q", message)
	case strings.Contains(message, "[corrupt "):
		return fmt.Errorf("a failed call is reported as damage: %q", message)
	case !strings.Contains(message, f.run):
		return fmt.Errorf("the error does not name the place: %q", message)
	case strings.HasPrefix(message, "error open") && strings.Contains(message, "panic in the log"):
		f.panics++ // the underlying log cannot clean up after a failed sync of its parent
		return nil
	case !strings.Contains(message, fmt.Sprintf(" %d]", f.errno)) &&
		!strings.Contains(message, "in use") && !strings.Contains(message, "not repairable"):
		return fmt.Errorf("the error does not carry its cause, errno %d: %q", f.errno, message)
	}
	return nil
}

func (f *failures) judge(dir string) error {
	kept := filepath.Join(f.folder, "judged")
	defer os.RemoveAll(kept)
	// A copy, because a log that failed to open keeps its locks until the process ends, and may be
	// creating its next file.
	err := fs.ErrNotExist
	for errors.Is(err, fs.ErrNotExist) {
		if err = os.RemoveAll(kept); err == nil {
			err = os.CopyFS(kept, os.DirFS(dir))
		}
	}
	if err != nil {
		return err
	}
	if err := f.oracle.judge(filepath.Join(kept, journalFolder), false); err != nil {
		return fmt.Errorf("restarted: %w", err)
	}
	rng := rand.New(rand.NewPCG(uint64(f.failAt), uint64(f.errno)))
	for range 2 {
		if err := os.RemoveAll(kept); err != nil {
			return err
		}
		f.lock.Lock()
		left := f.disk.Crash(rng)
		f.lock.Unlock()
		if err := left.Put(kept); err != nil {
			return err
		}
		if err := f.oracle.judge(filepath.Join(kept, journalFolder), false); err != nil {
			return fmt.Errorf("restarted after a power loss: %w\n%s", err, left.Listing())
		}
	}
	return os.RemoveAll(dir)
}

func (f *failures) stop() {
	if f.child == nil {
		return
	}
	if err := errors.Join(f.child.End(), f.child.Wait()); err != nil {
		f.t.Error(err)
	}
	f.child = nil
}

// base is a directory with which the script begins, and the known facts about it.
type base struct {
	name  string
	disk  *powerloss.Disk
	known *oracle
}

func (o *oracle) copy() *oracle {
	out := *o
	out.incs, out.states = slices.Clone(o.incs), slices.Clone(o.states)
	return &out
}

// bases are an empty directory, a closed journal, and one whose last write lost a sector.
func (f *failures) bases() []base {
	empty := base{"no directory", powerloss.NewDisk(), newOracle()}
	torn := base{name: "a torn last write"}
	f.look = func(c powerloss.Call) {
		gap := (c.Off/sectorBytes + 1) * sectorBytes // the second sector of the write
		if c.Name != "write" || f.oracle.tried == f.oracle.acked ||
			c.Off+int64(len(c.Data)) < gap+sectorBytes ||
			allZero(c.Data[gap-c.Off:][:sectorBytes]) {
			return
		}
		torn.disk, torn.known = f.disk.Copy(), f.oracle.copy()
		torn.disk.WriteTorn(c, gap, gap+sectorBytes)
	}
	if _, err := f.live(0, 0, empty); err != nil {
		f.t.Fatal(err)
	}
	f.look = nil
	if torn.disk == nil {
		f.t.Fatal("no write of the lifetime was long enough to tear")
	}
	return []base{empty, {"a closed journal", f.disk.Copy(), f.oracle}, torn}
}

// TestEveryCallFailsOnce lets every call on a file in a script of openings, commits, rollovers,
// snapshots and removals fail once with each of eight errnos. `SLUICE_SOAK=1 go test -run
// TestEveryCallFailsOnce -v ./durability/journal` tries all pairs, without the variable a part.
// After every failure, a restart or a power loss finds all acknowledged events, a failed sync is
// not repeated on that file, and the error names file, operation and cause.
func TestEveryCallFailsOnce(t *testing.T) {
	errnos := []unix.Errno{unix.EIO, unix.ENOSPC, unix.EDQUOT, unix.EINTR, unix.EAGAIN, unix.ENOMEM,
		unix.EMFILE, unix.EROFS}
	stride := 47 // of the pairs, and coprime to 8
	switch {
	case os.Getenv("SLUICE_SOAK") != "":
		stride = 1
	case testing.Short():
		stride = 101
	}
	f := &failures{t: t, folder: fastFolder(t), ended: make(chan bool)}
	defer f.stop()
	total, poisoned, unnoticed := 0, 0, 0
	failed := map[string]int{}
	for _, b := range f.bases() {
		pair, reached := 0, true
		for ; reached; pair += stride {
			n, errno := pair/len(errnos)+1, errnos[pair%len(errnos)]
			var err error
			if reached, err = f.live(n, errno, b); err != nil {
				t.Fatalf("beginning with %s, call %d (%s %s) fails with %v: %v", b.name, n,
					f.failed.Name, f.failed.Path, errno, err)
			}
			if reached {
				total++
				failed[f.failed.Name]++
				if strings.Contains(f.oracle.ended, "[poison") {
					poisoned++
				} else if f.oracle.ended == "closed" {
					unnoticed++
				}
			}
		}
		t.Logf("beginning with %s: %d calls", b.name, pair/len(errnos))
	}
	t.Logf("%d failed calls, none let an acknowledged event be lost; %d poisoned the journal, %d "+
		"were tried again or did not matter", total, poisoned, unnoticed)
	t.Logf("failed: %v", failed)
	for _, name := range []string{"write", "fsync", "fdatasync", "openat", "renameat"} {
		if failed[name] == 0 && stride == 1 {
			t.Errorf("no %s failed, so the test proves nothing", name)
		}
	}
}
