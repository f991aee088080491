package journal

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"sluice/durability"
)

// memoryEnv makes the test binary run as the process whose memory is measured: its value is what to do and
// where.
const memoryEnv = "SLUICE_JOURNAL_MEMORY"

const (
	memorySegment = 4 << 20
	memoryCommits = 1000
	memoryCommit  = 64 << 10 // bytes of each commit
	memoryLimit   = 32 << 20 // bytes, half the log
)

// memoryRoles are what a server does with its journal. Each reports an error.
var memoryRoles = map[string]func(dir string) error{
	"run": func(dir string) error {
		j, _, err := Open(Options{Dir: dir, SegmentBytes: memorySegment})
		if err != nil {
			return err
		}
		payload := make([]byte, 256)
		for range memoryCommits {
			for range memoryCommit / len(payload) {
				if _, err := j.Writer().Append(payload); err != nil {
					return err
				}
			}
			if _, err := j.Writer().Commit(); err != nil {
				return err
			}
		}
		return j.Close()
	},
	"start": func(dir string) error {
		j, r, err := Open(Options{Dir: dir, SegmentBytes: memorySegment})
		if err != nil {
			return err
		}
		var next durability.Seq
		for e, err := range r.Events() {
			if next++; err != nil || e.Seq != next {
				return fmt.Errorf("event %d, want %d: %w", e.Seq, next, err)
			}
		}
		return j.Close()
	},
}

func TestMemoryChild(t *testing.T) {
	role, dir, ok := strings.Cut(os.Getenv(memoryEnv), " ")
	if !ok {
		t.Skip("runs only as a child of TestStartNeedsNoMoreMemoryThanRun")
	}
	if err := memoryRoles[role](dir); err != nil {
		t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Println("heap", m.HeapSys) // grows only, so it is the most that the heap had
}

// The log is much larger than the memory that a process which writes it needs, and a process that opens it
// and reads all of it needs not much more. The collector runs only when the limit would be passed, so the
// heap grows as far as what is in use requires, and does not depend on speed.
func TestStartNeedsNoMoreMemoryThanRun(t *testing.T) {
	dir, heap := fastFolder(t), map[string]uint64{}
	for _, role := range []string{"run", "start"} {
		child := exec.Command(os.Args[0], "-test.run=^TestMemoryChild$")
		child.Env = append(os.Environ(), memoryEnv+"="+role+" "+dir, "GOGC=off", "GOMAXPROCS=1",
			fmt.Sprint("GOMEMLIMIT=", memoryLimit))
		out, err := child.CombinedOutput()
		var bytes uint64
		if _, scanned := fmt.Sscanf(string(out), "heap %d", &bytes); scanned != nil || err != nil {
			t.Fatalf("%s: %v\n%s", role, err, out)
		}
		heap[role] = bytes
	}
	t.Logf("a log of %d KiB: heap at most %d KiB while it was written, %d KiB when it was opened and read",
		memoryCommits*memoryCommit>>10, heap["run"]>>10, heap["start"]>>10)
	if heap["start"] > heap["run"]*3/2 {
		t.Error("the start needs more than 1.5 times the memory of the run")
	}
}
