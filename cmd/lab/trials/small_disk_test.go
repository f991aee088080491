package trials

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/cmd/internal/fleet"
)

// smallDisk is a file system in memory that is a node's data directory, and whose size changes.
type smallDisk struct{ dir string }

// diskSize is the size of a disk that is not full.
const diskSize = 64 << 20

// mountDisk gives a node that never ran a disk of its own. An error says why that is not possible here.
func mountDisk(t testing.TB, n *fleet.Node) (*smallDisk, error) {
	t.Helper()
	if err := unix.Mount("sluice-trial", n.Dir, "tmpfs", 0, fmt.Sprint("mode=0700,size=", diskSize)); err != nil {
		return nil, fmt.Errorf("needs the right to mount a file system: %w", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the disk is kept in %s.kept: %v", n.Dir, os.CopyFS(n.Dir+".kept", os.DirFS(n.Dir)))
		}
		if err := unix.Unmount(n.Dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return &smallDisk{n.Dir}, n.Remake(t.Context())
}

// leave makes the disk so small that a number of bytes are free, or a page more.
func (d *smallDisk) leave(free int64) error {
	for {
		var now unix.Statfs_t
		if err := unix.Statfs(d.dir, &now); err != nil {
			return err
		}
		used := int64(now.Blocks-now.Bfree) * now.Bsize
		err := unix.Mount("sluice-trial", d.dir, "tmpfs", unix.MS_REMOUNT,
			fmt.Sprint("size=", max(used+free, now.Bsize)))
		if !errors.Is(err, unix.EINVAL) { // else a file has grown meanwhile
			return err
		}
	}
}

// A member's disk gets full, be it that of the leader or not: its process ends with exit code 1 and says why, and
// the others go on. While it lacks room it does not start, or ends again. When there is enough, it catches up.
func TestClusterSmallDisk(t *testing.T) {
	program, sum := buildProgram(t), newToll()
	_, seed := given(t)
	a := newAttack(t, program, seed, 500*time.Millisecond, time.Second, sum)
	for _, n := range a.fleet.Nodes {
		n.Args = append(n.Args, "--journal-segment", "64KiB")
	}
	n := a.followers(a.keeper)[a.rng.IntN(2)]
	d, err := mountDisk(t, n)
	if d == nil {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	a.trio.begin()
	a.tradeAt(6, 8, 10*time.Millisecond)
	a.probe = a.open()
	a.settle(nil)
	starts := 0
	for range scale(1, 2, 50) {
		more, err := a.fill(n, d)
		if err != nil {
			a.fail("the full disk of node %d: %v", n.Number, err)
		}
		starts += more
		a.settle(nil)
	}
	a.conclude()
	t.Logf("seed %d: %d starts until there was enough room; %v", seed, starts, sum)
}

// fill has the disk of a node be full, and makes room bit by bit.
func (a *attack) fill(n *fleet.Node, d *smallDisk) (starts int, err error) {
	ctx, cancel := context.WithTimeout(a.ctx, 2*trioPatience)
	defer cancel()
	if a.rng.IntN(2) == 0 {
		if err := a.tries("the transfer", func(ctx context.Context, leader *fleet.Node) error {
			if leader == n {
				return nil
			}
			return errors.Join(leader.Transfer(ctx, n), errors.New("asked to lead"))
		}); err != nil {
			return 0, err
		}
	}
	log, free := logEnd(n), a.rng.Int64N(32<<10)
	if poll(ctx, func() bool { // what it frees is taken, too
		err = d.leave(free)
		return err != nil || ended(n)
	}); err == nil {
		err = fullEnd(ctx, n, log)
	}
	if err != nil {
		return 0, err
	}
	if _, err := a.fleet.Leader(ctx, n); err != nil {
		return 0, err
	}
	a.answered(5)
	for free := int64(0); ; free = max(2*free, 16<<10) {
		if err := d.leave(free); err != nil {
			return starts, err
		}
		log := logEnd(n)
		starts++
		if err := n.Start(ctx); err != nil {
			if free >= diskSize || !log.says("needs at least") || !log.says(unix.ENOSPC.Error()) {
				return starts, fmt.Errorf("a start with %d free bytes: %w", free, err)
			}
			continue
		}
		if free == 0 {
			return starts, errors.New("it starts without a free byte")
		}
		if goal, err := a.goal(ctx, n); err != nil {
			return starts, err
		} else if poll(ctx, func() bool {
			now, err := look(ctx, n)
			return ended(n) || err == nil && now.Unready == "" && now.Applied >= goal
		}) && !ended(n) {
			return starts, d.leave(diskSize)
		}
		if err := fullEnd(ctx, n, log); err != nil {
			return starts, fmt.Errorf("with %d free bytes: %w", free, err)
		}
	}
}

// goal is what is in the log for good, as the leader says, be it any but one.
func (a *attack) goal(ctx context.Context, except *fleet.Node) (event uint64, err error) {
	leader, err := a.fleet.Leader(ctx, except)
	if err != nil {
		return 0, err
	}
	now, err := look(ctx, leader)
	return now.Committed, err
}

// ended reports whether the process of a node has ended.
func ended(n *fleet.Node) bool {
	select {
	case <-n.Exited():
		return true
	default:
		return false
	}
}

// fullEnd waits for the end of a node whose disk is full.
func fullEnd(ctx context.Context, n *fleet.Node, log logFrom) error {
	select {
	case <-n.Exited():
	case <-ctx.Done():
		return errors.New("its process goes on")
	}
	if code := n.ExitCode(); code != 1 {
		return fmt.Errorf("its process has ended with exit code %d, want 1", code)
	}
	for _, words := range []string{"nothing more is acknowledged by this node", unix.ENOSPC.Error(), "free space"} {
		if !log.says(words) {
			return fmt.Errorf("its log does not say %q", words)
		}
	}
	return nil
}
