package trials

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/cmd/internal/fleet"
)

// machine measures how well processes get on that have little to do, so that a fault of the program is told
// from a machine that has no time.
type machine struct {
	stalled atomic.Int64 // ns by which a goroutine that sleeps woke too late, in all
}

// watchMachine measures until the test ends.
func watchMachine(t testing.TB) *machine {
	const every, usual = 10 * time.Millisecond, 5 * time.Millisecond
	m, stop := &machine{}, make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go func() {
		for {
			began := time.Now()
			select {
			case <-stop:
				return
			case <-time.After(every):
			}
			if over := time.Since(began) - every; over > usual {
				m.stalled.Add(int64(over))
			}
		}
	}()
	return m
}

// moment is the state of the machine.
type moment struct {
	at      time.Time
	stalled time.Duration
	waited  map[int]time.Duration // by process: time for which its threads waited for a processor
}

func (m *machine) look(f *fleet.Fleet) moment {
	now := moment{time.Now(), time.Duration(m.stalled.Load()), make(map[int]time.Duration)}
	for _, n := range f.Nodes {
		now.waited[n.PID()] = waited(n.PID())
	}
	return now
}

// since says how the machine has been, and for how long a goroutine that had nothing to do was not run.
func (m *machine) since(then moment, f *fleet.Fleet) (text string, stalled time.Duration) {
	now := m.look(f)
	took := now.at.Sub(then.at)
	stalled = now.stalled - then.stalled
	text = fmt.Sprintf("in %v an idle goroutine woke up %v late in all; the threads waited for a processor:",
		took.Round(time.Millisecond), stalled.Round(time.Millisecond))
	for _, n := range f.Nodes {
		text += fmt.Sprintf(" node %d %v", n.Number,
			(now.waited[n.PID()] - then.waited[n.PID()]).Round(time.Millisecond))
	}
	if b, err := os.ReadFile("/proc/pressure/cpu"); err == nil {
		text += "; " + strings.TrimSpace(string(b))
	}
	return text, stalled
}

// waited is the time for which the threads of a process waited for a processor; 0 if it is not known.
func waited(pid int) (sum time.Duration) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, file := range files {
		if b, err := os.ReadFile(file); err == nil {
			if f := strings.Fields(string(b)); len(f) > 1 {
				n, _ := strconv.ParseInt(f[1], 10, 64)
				sum += time.Duration(n)
			}
		}
	}
	return sum
}

// footprint is the most memory that any node had.
type footprint struct {
	resident, log, waiting, snapshots int // MiB; bytes; bytes; number
	unread                            int // metrics that did not arrive in time
}

func (f *footprint) String() string {
	return fmt.Sprintf("at most %d MiB resident, %d KiB of log in memory, %d KiB waiting for links, %d "+
		"snapshots under way (%d times unknown)",
		f.resident, f.log>>10, f.waiting>>10, f.snapshots, f.unread)
}

// Bounds of a node, by its flags and the defaults of the links.
const (
	attackBytes = 16 << 20 // of --snapshot-bytes and --shard-budget
	// two snapshots apart, and what came during the last one
	logLimit      = 2*attackBytes + 4<<20
	waitingLimit  = 3 * (8<<20 + 1<<20 + 1024*512) // three others: append, bulk, control
	snapshotLimit = 3 + 3                          // sent to the others, and received from them
	// with the program, and what a collection leaves over
	residentLimit = 128<<20 + 2*(logLimit+waitingLimit+attackBytes)
)

// sample looks at every node.
func (f *footprint) sample(ctx context.Context, nodes ...*fleet.Node) error {
	for _, n := range nodes {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.PID()))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				kib, _ := strconv.Atoi(strings.Fields(rest)[0])
				f.resident = max(f.resident, kib>>10)
			}
		}
		if err := f.metrics(ctx, n); err != nil {
			return err
		}
		if f.resident > residentLimit>>20 || f.log > logLimit || f.waiting > waitingLimit ||
			f.snapshots > snapshotLimit {
			return fmt.Errorf("node %d had %v; want at most %v", n.Number, f,
				&footprint{residentLimit >> 20, logLimit, waitingLimit, snapshotLimit, 0})
		}
	}
	return nil
}

// metrics reads those of a node.
func (f *footprint) metrics(ctx context.Context, n *fleet.Node) error {
	sums := map[string]int{"sluice_cluster_log_size_bytes": -1, "sluice_cluster_link_waiting_bytes": -1,
		"sluice_cluster_snapshots_under_way": -1}
	err := get(ctx, n.Live+"metrics", func(r *http.Response) error {
		body, err := io.ReadAll(r.Body)
		for line := range strings.Lines(string(body)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			name, _, _ = strings.Cut(name, "{")
			if _, is := sums[name]; is && err == nil {
				var v float64
				v, err = strconv.ParseFloat(value, 64)
				sums[name] = max(sums[name], 0) + int(v)
			}
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		f.unread++
		return nil
	}
	for name, v := range sums {
		if v < 0 && err == nil {
			err = fmt.Errorf("node %d has no metric %s", n.Number, name)
		}
	}
	f.log = max(f.log, sums["sluice_cluster_log_size_bytes"])
	f.waiting = max(f.waiting, sums["sluice_cluster_link_waiting_bytes"])
	f.snapshots = max(f.snapshots, sums["sluice_cluster_snapshots_under_way"])
	return err
}
