package trials

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"sluice/cmd/internal/fleet"
)

// fourth is a node that becomes a member of three, does this and that, and leaves.
type fourth struct {
	*fleet.Node
	a     *attack
	h     *hit
	place *fleet.Node // of which it has taken the place; nil: of none
	done  chan error  // of what it does while the other faults last
}

// furtherMost is the number of nodes beside the three: each number can be given to 16 directories.
const furtherMost = 6

// membership adds a node, promotes, kills and replaces it, in any order, perhaps has it take the place of another
// one, and removes it at the end.
func membership(a *attack, h *hit) (func() error, error) {
	if len(a.further) < furtherMost {
		n, err := a.fleet.Further(len(a.fleet.Nodes) + 1 + len(a.further))
		if err != nil {
			return nil, err
		}
		n.Args = append(n.Args, "--snapshot-events", "1000")
		a.further = append(a.further, n)
	}
	f := &fourth{Node: a.further[len(a.further)-1], a: a, h: h, done: make(chan error, 1)}
	a.further = slices.Insert(a.further[:len(a.further)-1], 0, f.Node)
	a.fleet.Nodes = append(a.fleet.Nodes, f.Node)
	go func() { f.done <- f.come() }()
	return f.leave, nil
}

// come adds it, and does what it does, beside the other faults.
func (f *fourth) come() error {
	err := f.add()
	for i := f.h.rng.IntN(4); i > 0 && err == nil; i-- {
		err = f.step()
	}
	return err
}

// leave has three members again. The other faults have ended.
func (f *fourth) leave() error {
	if err := <-f.done; err != nil {
		return err
	}
	if f.place != nil {
		if err := f.giveBack(); err != nil {
			return err
		}
	} else if err := f.change("remove", f.number()); err != nil {
		return err
	}
	if err := f.gone(f.Node); err != nil {
		return err
	}
	f.a.fleet.Nodes = slices.DeleteFunc(f.a.fleet.Nodes, func(n *fleet.Node) bool { return n == f.Node })
	return f.a.voters()
}

func (f *fourth) number() string { return strconv.Itoa(f.Number) }

// step is one of the things that it does.
func (f *fourth) step() error {
	switch f.h.rng.IntN(4) {
	case 0:
		return f.change("promote", f.number())
	case 1:
		f.Kill()
		return f.a.again(f.Node)
	case 2: // its disk is lost
		f.Kill()
		if err := f.change("replace", f.number()); err != nil {
			return err
		}
		return f.a.again(f.Node)
	}
	return f.takePlace()
}

// add adds it.
func (f *fourth) add() error {
	words := []string{"add", "--peer-addr", f.Peer, "--client-addr", f.Client, f.number()}
	if f.h.rng.IntN(2) == 0 {
		words = slices.Insert(words, 1, "--learner")
	}
	if err := f.change(words...); err != nil {
		return err
	}
	return f.a.again(f.Node)
}

// takePlace promotes it in the place of the node that was drawn.
func (f *fourth) takePlace() error {
	if f.place != nil {
		return nil
	}
	old := f.h.node
	if err := f.change("promote", "--instead-of", strconv.Itoa(old.Number), f.number()); err != nil {
		return err
	}
	f.place = old
	return f.gone(old)
}

// giveBack has the node whose place it took take its own, on a new directory.
func (f *fourth) giveBack() error {
	n := f.place
	back := &fourth{Node: n, a: f.a, h: f.h}
	err := back.change("add", "--learner", "--peer-addr", n.Peer, "--client-addr", n.Client, back.number())
	if err == nil {
		err = f.a.again(n)
	}
	if err == nil {
		err = back.change("promote", "--instead-of", f.number(), back.number())
	}
	return err
}

// change asks for a change of the members, again until it is made. That may be unknown if the leader is lost
// meanwhile; then the next one refuses it. A ticket that was not received is given again by replace.
func (f *fourth) change(words ...string) error {
	f.a.tell("cluster %s", strings.Join(words, " "))
	return f.a.tries("cluster "+words[0], func(ctx context.Context, leader *fleet.Node) error {
		done, err := leader.Change(ctx, words...)
		text := fmt.Sprint(err)
		switch {
		case err == nil && done.Ticket != "":
			return f.Join(ctx, done.Ticket)
		case err == nil:
			return nil
		case words[0] == "add" && strings.Contains(text, "is a member already"):
			words = []string{"replace", f.number()}
		case words[0] == "promote" && strings.Contains(text, "is a voter already"):
			if len(words) == 2 {
				return nil
			}
			words = []string{"remove", words[2]} // the voter may be there still
		case words[0] == "remove" && strings.Contains(text, "is not a member"):
			return nil
		case strings.Contains(text, "hand its leadership over"):
			err = errors.Join(err, leader.Transfer(ctx))
		}
		return err
	})
}

// gone waits for the end of a node that is not a member any more, and for the reason in its log.
func (f *fourth) gone(n *fleet.Node) error {
	ctx, cancel := context.WithTimeout(f.a.ctx, trioPatience)
	defer cancel()
	select {
	case <-n.Exited():
	case <-ctx.Done():
		return fmt.Errorf("node %d was removed, and its process goes on", n.Number)
	}
	if code := n.ExitCode(); code != 0 {
		return fmt.Errorf("node %d was removed: its process has ended with exit code %d, want 0", n.Number, code)
	}
	const words = "ended for good"
	if last := fleet.Tail(n.Log, 1); !strings.Contains(last, words) {
		return fmt.Errorf("node %d was removed: its log ends with %q, which does not say %q", n.Number, last, words)
	}
	if err := n.Start(ctx); err == nil {
		return fmt.Errorf("node %d was removed, and starts", n.Number)
	}
	return os.RemoveAll(n.Dir)
}
