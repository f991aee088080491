package trials

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sluice/cmd/internal/fleet"
)

// diskFaults are the kinds by disks and clocks.
func diskFaults() []*fault {
	return []*fault{
		{name: "hung disk", kernel: true, begin: func(a *attack, h *hit) (func() error, error) {
			a.kernels[h.node].hang()
			return func() error { a.healed(h); return nil }, nil
		}},
		{name: "hung disk of the leader", kernel: true, alone: true, begin: hangLeader},
		{name: "failing disk", kernel: true, alone: true, begin: failing(unix.EIO)},
		{name: "full disk", kernel: true, alone: true, begin: failing(unix.ENOSPC, "needs at least", "free space")},
		{name: "lost disk made anew", alone: true, loses: true, begin: anew},
		{name: "wrong clock", kernel: true, begin: wrongClock},
	}
}

// underKernels has all nodes run under kernels of the trial.
func (a *attack) underKernels() error {
	a.t.Helper()
	a.kernels = make(map[*fleet.Node]*kernel)
	for _, n := range a.fleet.Nodes {
		k, err := underKernel(a.t, n, true)
		if err != nil {
			return err
		}
		a.kernels[n] = k
	}
	return nil
}

// healed ends the faults of a node's disk.
func (a *attack) healed(h *hit) {
	a.tell("%d calls failed or hung at node %d", a.kernels[h.node].heal(), h.node.Number)
}

// hangLeader has the disk of the node that leads hang until another one leads.
func hangLeader(a *attack, h *hit) (func() error, error) {
	ctx, cancel := context.WithTimeout(a.ctx, trioPatience)
	defer cancel()
	n, err := a.fleet.Leader(ctx)
	if err != nil {
		return nil, err
	}
	h.node = n
	log := logEnd(n)
	a.kernels[n].hang()
	if _, err := a.fleet.Leader(ctx, n); err != nil {
		return nil, err
	}
	if words := "the disk has not answered; the leadership goes to another node"; !log.says(words) {
		a.tell("the log of node %d does not say %q: it lost its leadership for another reason", n.Number, words)
	}
	return func() error { a.healed(h); return nil }, nil
}

// failing has all writes to the disk of a node fail with an errno: its process ends by itself with exit code
// 1, its log says why in these words, and it does not start meanwhile.
func failing(errno unix.Errno, words ...string) func(a *attack, h *hit) (func() error, error) {
	return func(a *attack, h *hit) (func() error, error) {
		ctx, cancel := context.WithTimeout(a.ctx, trioPatience)
		defer cancel()
		n := h.node
		log := logEnd(n)
		a.kernels[n].fail(errno)
		select {
		case <-n.Exited():
		case <-ctx.Done():
			return nil, errors.New("its process goes on without a disk")
		}
		if code := n.ExitCode(); code != 1 {
			return nil, fmt.Errorf("its process has ended with exit code %d, want 1", code)
		}
		if _, err := a.fleet.Leader(ctx, n); err != nil {
			return nil, err
		}
		for _, w := range append(words, "nothing more is acknowledged by this node", errno.Error()) {
			if !log.says(w) {
				return nil, fmt.Errorf("its log does not say %q", w)
			}
		}
		log = logEnd(n)
		if err := n.Start(ctx); err == nil {
			return nil, errors.New("it starts without a disk")
		}
		if !log.says(errno.Error()) {
			return nil, fmt.Errorf("the log of its start does not say %q", errno)
		}
		return func() error { a.healed(h); return a.again(n) }, nil
	}
}

// anew takes the data of a node, and starts it on a new directory under its old id. The others refuse it.
func anew(a *attack, h *hit) (func() error, error) {
	n := h.node
	ctx, cancel := context.WithTimeout(a.ctx, trioPatience)
	defer cancel()
	n.Kill()
	if err := n.Remake(ctx); err != nil {
		return nil, err
	}
	log := logEnd(n)
	if err := n.Start(ctx); err != nil {
		return nil, err
	}
	if !poll(ctx, func() bool { return log.says("was made anew") }) {
		return nil, errors.New("its log does not say that it is refused")
	}
	return replace(a, h)
}

// wrongClock moves the wall clock of a node by hours, twice, and back. The time of events never falls: each
// node compares it with that of the event before, and ends if it does.
func wrongClock(a *attack, h *hit) (func() error, error) {
	k := a.kernels[h.node]
	hours := func() time.Duration { return time.Duration(h.rng.Int64N(int64(48*time.Hour))) - 24*time.Hour }
	first := hours()
	before := k.set(first)
	again := time.AfterFunc(h.lasts/2, func() { k.set(hours()) })
	return func() error {
		again.Stop()
		a.tell("the clock of node %d was off by %v", h.node.Number, first)
		ctx, cancel := context.WithTimeout(a.ctx, trioPatience)
		defer cancel()
		read := poll(ctx, func() bool { return k.wrongReads() != before })
		if k.set(0); !read {
			return errors.New("its clock was never read")
		}
		return nil
	}, nil
}

// logFrom is a node's log from a moment on.
type logFrom struct {
	path string
	at   int
}

// logEnd is the log of a node from now on.
func logEnd(n *fleet.Node) logFrom {
	text, _ := os.ReadFile(n.Log) // none yet
	return logFrom{n.Log, len(text)}
}

// says reports whether the log has words.
func (l logFrom) says(words string) bool {
	text, err := os.ReadFile(l.path)
	return err == nil && strings.Contains(string(text[l.at:]), words)
}

// poll looks again and again until something is there; false if ctx ends before.
func poll(ctx context.Context, there func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !there() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
