package journal

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// starvedEnv makes the test binary run a part of a test in a process of its own, whose limit of
// descriptors it changes.
const starvedEnv = "SLUICE_JOURNAL_STARVED"

// alone runs a test in a child, and the child's part in that.
func alone(t *testing.T, part func(t *testing.T)) {
	t.Helper()
	if os.Getenv(starvedEnv) != "" {
		part(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), starvedEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS")) {
		t.Fatalf("the child: %v\n%s", err, out)
	}
}

// all is a number of descriptors for leave.
const all = -1

// leave sets the limit so that n more descriptors can be opened.
func leave(t *testing.T, n int) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur = limit.Max; n != all {
		limit.Cur = 0
		for ; n > 0 || inUse(limit.Cur); limit.Cur++ {
			if !inUse(limit.Cur) {
				n--
			}
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
}

func inUse(fd uint64) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

// starving is a journal with small segments, and the log line that says that it waits.
type starving struct {
	t       *testing.T
	dir     string
	j       *Journal
	waiting chan struct{} // closed by the first line about descriptors
	began   bool
}

func (s *starving) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("no file descriptor left")) && !s.began {
		s.began = true
		close(s.waiting)
	}
	return len(line), nil
}

func starve(t *testing.T) *starving {
	t.Helper()
	s := &starving{t: t, dir: filepath.Join(t.TempDir(), "j"), waiting: make(chan struct{})}
	var err error
	s.j, _, err = Open(Options{Dir: s.dir, SegmentBytes: MinSegmentBytes, Logger: slog.New(slog.NewTextHandler(s, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.prepared()
	return s
}

// prepared waits until the underlying log has made its next segment.
func (s *starving) prepared() {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(time.Millisecond) {
		found, err := filepath.Glob(filepath.Join(s.dir, walFolder, "*.tmp"))
		if err == nil && len(found) == 1 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("prepared segments: %v, %v", found, err)
		}
	}
}

// roll commits events until another segment has begun.
func (s *starving) roll() error {
	for w, before := s.j.Writer(), s.j.writer.tailNumber; w.tailNumber == before; {
		if _, err := w.Append(make([]byte, 1000)); err != nil {
			return err
		}
		if _, err := w.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// A rollover waits for descriptors, and nothing is lost. A snapshot does as well.
func TestRolloverWaitsForDescriptors(t *testing.T) {
	alone(t, func(t *testing.T) {
		for name, act := range map[string]func(s *starving) error{
			"rollover": (*starving).roll,
			"snapshot": func(s *starving) error {
				snapshot, err := s.j.PrepareSnapshot(1, func(w io.Writer) error { _, err := io.WriteString(w, "state"); return err })
				if err != nil {
					return err
				}
				return s.j.Writer().Install(snapshot)
			},
		} {
			s := starve(t)
			if err := s.roll(); err != nil {
				t.Fatal(err)
			}
			for _, free := range []int{0, 1, descriptorsTried - 1} {
				s.prepared()
				s.waiting, s.began = make(chan struct{}), false
				leave(t, free)
				done := make(chan error, 1)
				go func() { done <- act(s) }()
				select {
				case <-s.waiting:
				case err := <-done:
					t.Fatalf("%s with %d descriptors did not wait: %v", name, free, err)
				}
				leave(t, all)
				if err := <-done; err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			last := s.j.Writer().Persisted()
			if err := s.j.Close(); err != nil {
				t.Fatal(err)
			}
			j, r, err := Open(Options{Dir: s.dir, SegmentBytes: MinSegmentBytes})
			if err != nil || r.Last != last || r.Interrupted {
				t.Fatalf("%s: reopened at event %d of %d, interrupted %v: %v", name, r.Last, last, r.Interrupted, err)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// With the descriptors that it tries, and the same for a snapshot, a journal needs no more.
func TestSpareDescriptorsAreEnough(t *testing.T) {
	alone(t, func(t *testing.T) {
		s := starve(t)
		s.prepared()
		leave(t, SpareDescriptors)
		for range 50 {
			if err := s.roll(); err != nil {
				t.Fatal(err)
			}
			seq := s.j.Writer().Persisted()
			snapshot, err := s.j.PrepareSnapshot(seq, func(io.Writer) error { return nil })
			if err == nil {
				err = s.j.Writer().Install(snapshot)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := s.j.Close(); err != nil || s.began {
			t.Fatalf("waited: %v, error %v", s.began, err)
		}
	})
}

// Without descriptors a journal gives up in the end: the error names the remedy, what was persisted
// stays, and a snapshot poisons nothing.
func TestDescriptorsThatNeverComeEndTheWait(t *testing.T) {
	alone(t, func(t *testing.T) {
		s := starve(t)
		s.j.dir.patience = 50 * time.Millisecond
		if err := s.roll(); err != nil {
			t.Fatal(err)
		}
		snapshot, err := s.j.PrepareSnapshot(1, func(io.Writer) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		s.prepared()
		leave(t, 0)
		_, again := s.j.PrepareSnapshot(1, func(io.Writer) error { return nil })
		for name, err := range map[string]error{"prepare": again, "install": s.j.Writer().Install(snapshot)} {
			if !errors.Is(err, syscall.EMFILE) || errors.Is(err, ErrPoisoned) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := os.Lstat(snapshot.temporary); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the snapshot is left: %v", err)
		}
		err = s.roll()
		var poison *PoisonError
		if !errors.As(err, &poison) || !errors.Is(err, syscall.EMFILE) || !strings.Contains(err.Error(), "ulimit -n") ||
			poison.Persisted != s.j.Writer().Persisted() {
			t.Fatalf("%v", err)
		}
		leave(t, all)
		if err := s.j.Close(); err != nil {
			t.Fatal(err)
		}
		_, r, err := Open(Options{Dir: s.dir, SegmentBytes: MinSegmentBytes})
		if err != nil || r.Last != poison.Persisted {
			t.Fatalf("reopened at %+v, want %d: %v", r, poison.Persisted, err)
		}
	})
}

// A journal keeps the same number of descriptors however many segments it has.
func TestSegmentsKeepNoDescriptors(t *testing.T) {
	s := starve(t)
	open := func() (n int) {
		s.prepared()
		links, err := filepath.Glob("/proc/self/fd/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links {
			if target, _ := os.Readlink(link); strings.HasPrefix(target, s.dir) {
				n++
			}
		}
		return n
	}
	if err := s.roll(); err != nil {
		t.Fatal(err)
	}
	before := open()
	for range 20 {
		if err := s.roll(); err != nil {
			t.Fatal(err)
		}
	}
	if after := open(); after != before {
		t.Errorf("%d descriptors after 20 segments more, %d before", after, before)
	}
	if err := s.j.Close(); err != nil {
		t.Fatal(err)
	}
}
