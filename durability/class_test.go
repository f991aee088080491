package durability

import (
	"strings"
	"testing"
)

func TestClassOfPolicy(t *testing.T) {
	for _, c := range []struct {
		policy string
		nodes  int
		want   Class
	}{
		{"persisted>=2", 3, Committed},
		{"persisted>=3", 3, Committed},
		{"persisted>=2 && in_memory>=3", 3, Committed},
		{"hybrid", 3, CrashSafe},
		{"replicated", 3, CrashSafe},
		{"in_memory>=3 && persisted>=1", 3, CrashSafe},
		{"local", 3, Exposed},
		{"in_memory>=1 && persisted>=1", 3, Exposed},
		{"hybrid", 5, Exposed},
		{"persisted>=2", 5, Exposed},
		{"persisted>=3", 5, Committed},
		{"persisted>=2 && in_memory>=3", 5, CrashSafe},
		{"persisted>=3", 4, Committed},
		{"persisted>=2", 4, Exposed},
		{"local", 1, Committed},
		{"in_memory>=1", 1, Exposed},
		{"persisted>=9", 16, Committed},
		{"in_memory>=9", 16, CrashSafe},
		{"persisted>=8 && in_memory>=8", 16, Exposed},
	} {
		if got := must(t, c.policy, c.nodes).Class(c.nodes); got != c.want {
			t.Errorf("%q on %d nodes is %v, want %v", c.policy, c.nodes, got, c.want)
		}
	}
}

// copyAt is where a node has an event.
type copyAt uint8

const (
	nowhere copyAt = iota
	inMemory
	onDisk
)

// elected reports whether the nodes of some majority lack the event all together, so that one of them
// may lead without it. gone are the nodes that take no part, as bits; those in forgets lost their memory.
func elected(at []copyAt, gone, forgets uint) bool {
	for set := uint(0); set < 1<<len(at); set++ {
		voters, holds := 0, false
		for i, a := range at {
			if set&(1<<i) == 0 {
				continue
			}
			voters++
			holds = holds || a == onDisk || a == inMemory && forgets&(1<<i) == 0
		}
		if set&gone == 0 && voters > len(at)/2 && !holds {
			return true
		}
	}
	return false
}

// lost says, without the arithmetic of Class, what can contradict a response whose event is where at
// says: the loss of less than a majority of disks together with all memories, and the loss of the leader.
func lost(at []copyAt) (byDisks, byLeader bool) {
	n := len(at)
	for disks := uint(0); disks < 1<<n; disks++ {
		left, gone := 0, 0
		for i, a := range at {
			switch {
			case disks&(1<<i) != 0:
				gone++
			case a == onDisk:
				left++
			}
		}
		if gone <= n/2 && (left == 0 || elected(at, disks, 1<<n-1)) {
			byDisks = true
		}
	}
	if n-1 > n/2 {
		return byDisks, elected(at, 1, 1) // the others elect one of them
	}
	return byDisks, elected(at, 0, 1) // they cannot, and it comes back
}

// Every way in which up to five nodes can have an event, under every policy of two clauses. In a
// cluster of an even size the classes ask for one copy more than would do.
func TestClassIsWhatCanBeLost(t *testing.T) {
	for n := 1; n <= 5; n++ {
		for persisted := 0; persisted <= n; persisted++ {
			for memory := 0; memory <= n; memory++ {
				var clauses []Clause
				if persisted > 0 {
					clauses = append(clauses, Clause{Persisted, persisted})
				}
				if memory > 0 {
					clauses = append(clauses, Clause{InMemory, memory})
				}
				if len(clauses) == 0 {
					continue
				}
				p, err := NewPolicy(n, clauses...)
				if err != nil {
					t.Fatal(err)
				}
				want := Committed
				states(n, func(at []copyAt) {
					byDisks, byLeader := lost(at)
					switch {
					case !releases(p, at):
					case byLeader:
						want = min(want, Exposed)
					case byDisks:
						want = min(want, CrashSafe)
					}
				})
				if got := p.Class(n); got > want || n%2 == 1 && got != want {
					t.Errorf("%q on %d nodes is %v; what can be lost makes it %v", p, n, got, want)
				}
			}
		}
	}
}

// states calls f with every way in which n nodes can have an event that the first one has sequenced.
func states(n int, f func(at []copyAt)) {
	at := make([]copyAt, n)
	var next func(i int)
	next = func(i int) {
		if i == n {
			f(at)
			return
		}
		for at[i] = nowhere; at[i] <= onDisk; at[i]++ {
			if i > 0 || at[i] != nowhere {
				next(i + 1)
			}
		}
	}
	next(0)
}

// releases reports whether the policy lets a response of the event leave.
func releases(p Policy, at []copyAt) bool {
	v := View{Len: len(at)}
	for i, a := range at {
		v.Nodes[i] = Node{ID: i}
		if a != nowhere {
			v.Nodes[i].InMemory = 1
		}
		if a == onDisk {
			v.Nodes[i].Persisted = 1
		}
	}
	v.Nodes[0].InMemory = Everything
	return p.Evaluate(&v).Position >= 1
}

func TestMajorityIsCommittedAndNoMore(t *testing.T) {
	for n := 1; n <= MaxNodes; n++ {
		p := Majority(n)
		if p.Class(n) != Committed || p.MetBy(n) != nil {
			t.Errorf("the default of %d nodes is %q, which is %v", n, p, p.Class(n))
		}
		if k := p.Clause(0).Count; k > 1 && must(t, Clause{Persisted, k - 1}.String(), n).Class(n) == Committed {
			t.Errorf("the default of %d nodes is %q; one less is committed too", n, p)
		}
	}
	if got := Majority(3); got != DurablyReplicated() {
		t.Errorf("the default of three nodes is %q", got)
	}
}

func TestAtLeastSaysWhatToWriteInstead(t *testing.T) {
	if err := Hybrid().AtLeast(CrashSafe, 3); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		policy string
		least  Class
		nodes  int
		says   []string
	}{
		{"local", CrashSafe, 3, []string{`"persisted>=1" is exposed in a cluster of 3`, "leader alone",
			`use "persisted>=2", or "in_memory>=2"`, "force"}},
		{"hybrid", Committed, 3, []string{"is crash-safe in a cluster of 3", "loses its memory",
			`use "persisted>=2", or force`}},
		{"hybrid", CrashSafe, 5, []string{"is exposed in a cluster of 5", `use "persisted>=3", or "in_memory>=3"`}},
		{"in_memory>=1", CrashSafe, 1, []string{"is exposed in a cluster of 1", `use "persisted>=1", or force`}},
	} {
		err := must(t, c.policy, c.nodes).AtLeast(c.least, c.nodes)
		if err == nil {
			t.Errorf("%q is at least %v on %d nodes", c.policy, c.least, c.nodes)
			continue
		}
		for _, part := range c.says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("error %q does not say %q", err, part)
			}
		}
	}
}

func TestClassesHaveNamesAndSentences(t *testing.T) {
	for c, name := range map[Class]string{Exposed: "exposed", CrashSafe: "crash-safe", Committed: "committed",
		0: "class(0)"} {
		if c.String() != name {
			t.Errorf("class %d is called %q", uint8(c), c)
		}
		if c.Explain() == "" || (c > 0) != strings.Contains(c.Explain(), "response") {
			t.Errorf("class %v: %q", c, c.Explain())
		}
	}
}
