package durability

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"
)

// view returns a view of a primary with the persisted cursor journal and of replicas {in_memory,
// persisted} with IDs from 1.
func view(journal Seq, replicas ...[2]Seq) *View {
	v := &View{Len: 1 + len(replicas)}
	v.Nodes[0] = Node{0, Everything, journal}
	for i, r := range replicas {
		v.Nodes[i+1] = Node{i + 1, r[0], r[1]}
	}
	return v
}

func TestEvaluate(t *testing.T) {
	type replica = [2]Seq
	const all = Everything
	for _, test := range []struct {
		sentence string
		policy   string
		view     *View
		want     Verdict
	}{
		{"a local policy follows the journal", "local", view(100),
			Verdict{Position: 100, Binding: 0, Journal: 100, Replicas: all}},
		{"a replica's journal satisfies persisted>=1", "local", view(100, replica{120, 110}),
			Verdict{Position: 110, Binding: 1, Journal: 100, Replicas: all}},
		{"hybrid waits for the journal when it is last", "hybrid", view(100, replica{120, 90}),
			Verdict{Position: 100, Binding: 0, Journal: 100, Replicas: 120}},
		{"hybrid waits for the replica when it is last", "hybrid", view(100, replica{70, 60}),
			Verdict{Position: 70, Binding: 1, Journal: 100, Replicas: 70}},
		{"hybrid takes the best of two replicas", "hybrid",
			view(100, replica{70, 60}, replica{95, 0}),
			Verdict{Position: 95, Binding: 2, Journal: 100, Replicas: 95}},
		{"a persisted event is also held in memory", "replicated", view(0, replica{5, 9}),
			Verdict{Position: 9, Binding: 1, Journal: all, Replicas: 9}},
		{"the primary's memory covers everything", "in_memory>=1", view(0, replica{5, 9}),
			Verdict{Position: all, NoWait: true, Binding: -1, Journal: all, Replicas: all}},
		{"two disks wait for the second largest", "two-disks",
			view(100, replica{0, 70}, replica{0, 80}),
			Verdict{Position: 80, Binding: 2, Journal: 100, Replicas: 80}},
		{"two disks wait for the journal if replicas are ahead", "two-disks",
			view(100, replica{0, 170}, replica{0, 80}),
			Verdict{Position: 100, Binding: 0, Journal: 100, Replicas: 170}},
		{"a tie ranks the lower index first, so the second of two is the replica", "two-disks",
			view(50, replica{50, 50}), Verdict{Position: 50, Binding: 1, Journal: 50, Replicas: 50}},
		{"a tie for the first rank names the primary", "local", view(50, replica{50, 50}),
			Verdict{Position: 50, Binding: 0, Journal: 50, Replicas: all}},
		{"a tie of three names the middle one for the second rank", "two-disks",
			view(50, replica{50, 50}, replica{50, 50}),
			Verdict{Position: 50, Binding: 1, Journal: 50, Replicas: 50}},
		{"a tie of clauses names the lower index", "in_memory>=2 && persisted>=1",
			view(50, replica{50, 0}), Verdict{Position: 50, Binding: 0, Journal: 50, Replicas: 50}},
		{"the minimum of the clauses counts", "persisted>=2 && in_memory>=3",
			view(100, replica{60, 55}, replica{50, 20}),
			Verdict{Position: 50, Binding: 2, Journal: 100, Replicas: 50}},
		{"a missing node releases nothing", "hybrid", view(100),
			Verdict{Degraded: true, Binding: -1, Journal: 100}},
		{"a missing node releases nothing even if other clauses hold",
			"in_memory>=1 && persisted>=3", view(100, replica{90, 90}),
			Verdict{Degraded: true, Binding: -1, Journal: 100}},
		{"an empty view releases nothing", "local", &View{}, Verdict{Degraded: true, Binding: -1}},
		{"an empty view releases nothing even under a policy without a wait", "in_memory>=1",
			&View{}, Verdict{Degraded: true, Binding: -1, Journal: all}},
		{"an active replica at 0 holds everything back", "hybrid", view(100, replica{0, 0}),
			Verdict{Position: 0, Binding: 1, Journal: 100, Replicas: 0}},
		{"an ID is not an index", "replicated",
			&View{Len: 2, Nodes: [MaxNodes]Node{{0, all, 9}, {7, 4, 2}}},
			Verdict{Position: 4, Binding: 7, Journal: all, Replicas: 4}},
		{"nodes beyond Len are not in view", "replicated",
			&View{Len: 1, Nodes: [MaxNodes]Node{{0, all, 9}, {1, 4, 2}}},
			Verdict{Degraded: true, Binding: -1, Journal: all}},
	} {
		t.Run(test.sentence, func(t *testing.T) {
			if got := must(t, test.policy, 3).Evaluate(test.view); got != test.want {
				t.Errorf("%q\n got %+v\nwant %+v", test.policy, got, test.want)
			}
		})
	}
}

// naive evaluates as the definition says: sort by effective cursor, take the count-th, take the
// minimum.
func naive(p Policy, v *View) Verdict {
	want := Verdict{Journal: Everything}
	for _, c := range p.list() {
		if c.Level == Persisted {
			want.Journal = 0
			if v.Len > 0 {
				want.Journal = v.Nodes[0].Persisted
			}
		}
	}
	position, index, degraded := naivePosition(p, v)
	replicasOnly := *v
	replicasOnly.Nodes[0].InMemory, replicasOnly.Nodes[0].Persisted = Everything, Everything
	want.Position, want.Degraded, want.Binding = position, degraded, -1
	want.Replicas, _, _ = naivePosition(p, &replicasOnly)
	want.NoWait = position == Everything
	if !want.Degraded && !want.NoWait {
		want.Binding = v.Nodes[index].ID
	}
	return want
}

func naivePosition(p Policy, v *View) (position Seq, index int, degraded bool) {
	type entry struct {
		index  int
		cursor Seq
	}
	var values []entry
	for _, c := range p.list() {
		if v.Len < c.Count {
			return 0, -1, true
		}
		var ranking []entry
		for i, n := range v.Nodes[:v.Len] {
			cursor := n.Persisted
			if c.Level == InMemory && n.InMemory > cursor {
				cursor = n.InMemory
			}
			ranking = append(ranking, entry{i, cursor})
		}
		sort.SliceStable(ranking, func(a, b int) bool { return ranking[a].cursor > ranking[b].cursor })
		values = append(values, ranking[c.Count-1])
	}
	sort.Slice(values, func(a, b int) bool {
		if values[a].cursor != values[b].cursor {
			return values[a].cursor < values[b].cursor
		}
		return values[a].index < values[b].index
	})
	return values[0].cursor, values[0].index, false
}

func compare(t *testing.T, p Policy, v *View) {
	if got, want := p.Evaluate(v), naive(p, v); got != want {
		t.Fatalf("%q over %v\n got %+v\nwant %+v", p, v.Nodes[:v.Len], got, want)
	}
}

// policies calls do with every policy of that many clauses over counts 1 to maxCount.
func policies(clauses, maxCount int, do func(Policy)) {
	list := make([]Clause, clauses)
	var fill func(int)
	fill = func(i int) {
		if i == clauses {
			p, err := NewPolicy(maxCount, list...)
			if err != nil {
				panic(err)
			}
			do(p)
			return
		}
		for _, level := range []Level{InMemory, Persisted} {
			for count := 1; count <= maxCount; count++ {
				list[i] = Clause{level, count}
				fill(i + 1)
			}
		}
	}
	fill(0)
}

// views calls do with every view of that many nodes with cursors below values. The primary's memory
// is Everything.
func views(nodes int, values Seq, do func(*View)) {
	v := &View{Len: nodes}
	var fill func(int)
	fill = func(i int) {
		if i == nodes {
			do(v)
			return
		}
		for persisted := range values {
			if i == 0 {
				v.Nodes[0] = Node{0, Everything, persisted}
				fill(1)
				continue
			}
			for inMemory := range values {
				v.Nodes[i] = Node{i, inMemory, persisted}
				fill(i + 1)
			}
		}
	}
	fill(0)
}

func TestEvaluateMatchesDefinitionOnSmallCases(t *testing.T) {
	for nodes := 0; nodes <= 4; nodes++ {
		t.Run(fmt.Sprintf("%d nodes", nodes), func(t *testing.T) {
			cases := 0
			for clauses := 1; clauses <= 3; clauses++ {
				values := Seq(3)
				if nodes == 4 && clauses == 3 || testing.Short() {
					values = 2 // Still every order and every tie of two cursors.
				}
				policies(clauses, 4, func(p Policy) {
					views(nodes, values, func(v *View) {
						compare(t, p, v)
						cases++
					})
				})
			}
			t.Logf("%d cases", cases)
		})
	}
}

func FuzzEvaluate(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		random := rand.New(rand.NewPCG(a, b))
		seq := func() Seq {
			if random.IntN(8) == 0 {
				return Everything - Seq(random.IntN(3))
			}
			return Seq(random.IntN(20))
		}
		var v View
		v.Len = random.IntN(MaxNodes + 1)
		for i := range v.Nodes {
			v.Nodes[i] = Node{2 * i, seq(), seq()}
		}
		clauses := make([]Clause, 1+random.IntN(MaxClauses))
		for i := range clauses {
			clauses[i] = Clause{InMemory + Level(random.IntN(2)), 1 + random.IntN(MaxNodes)}
		}
		p, err := NewPolicy(MaxNodes, clauses...)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, p, &v)
	})
}

func TestEvaluatePanicsOnBrokenContracts(t *testing.T) {
	for _, test := range []struct {
		sentence string
		says     string
		do       func()
	}{
		{"the zero Policy", "zero Policy", func() { Policy{}.Evaluate(view(1)) }},
		{"a view of 17", "a view of 17 nodes", func() { Local().Evaluate(&View{Len: 17}) }},
		{"a view of -1", "a view of -1 nodes", func() { Local().Evaluate(&View{Len: -1}) }},
		{"cursors for 16 replicas", "16 replicas", func() { NewCursors(16) }},
		{"cursors for -1 replicas", "-1 replicas", func() { NewCursors(-1) }},
		{"the primary as a replica", "replica 0", func() { NewCursors(2).Activate(0, 1, 1) }},
		{"a replica out of range", "replica 3 of a cluster with 2",
			func() { NewCursors(2).Advance(3, 1, 1) }},
		{"a switch of the zero Policy", "zero Policy", func() { NewSwitch(Policy{}) }},
	} {
		t.Run(test.sentence, func(t *testing.T) { wantPanic(t, test.says, test.do) })
	}
}

func wantPanic(t *testing.T, says string, do func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if text := fmt.Sprint(recover()); !strings.HasPrefix(text, "durability: ") ||
			!strings.Contains(text, says) {
			t.Errorf("panic is %q, want it to say %q", text, says)
		}
	}()
	do()
}

func TestExplain(t *testing.T) {
	type replica = [2]Seq
	for _, test := range []struct {
		sentence, policy string
		view             *View
		want             string
	}{
		{"waiting for the journal", "local", view(100),
			"waits for journal: needs persisted>=1 at 120, is at 100"},
		{"waiting for a replica", "hybrid", view(150, replica{90, 80}),
			"waits for replica 1: needs in_memory>=2 at 120, is at 90"},
		{"waiting for both", "hybrid", view(100, replica{90, 80}),
			"waits for journal: needs persisted>=1 at 120, is at 100; waits for replica 1: needs " +
				"in_memory>=2 at 120, is at 90"},
		{"degraded", "hybrid", view(150), "degraded: in_memory>=2 asks for 2 nodes, 1 in view"},
		{"passing", "local", view(120), "passes: 120 is durable, open to 120, bound by journal"},
		{"not waiting at all", "in_memory>=1", view(0),
			`no wait: "in_memory>=1" binds no cursor, everything passes`},
	} {
		t.Run(test.sentence, func(t *testing.T) {
			if got := must(t, test.policy, 3).Explain(test.view, 120); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
	if got := Hybrid().Evaluate(view(7)).String(); !strings.HasPrefix(got, "degraded") {
		t.Errorf("a degraded verdict prints %q", got)
	}
	got := must(t, "in_memory>=1", 1).Evaluate(view(7)).String()
	if !strings.HasPrefix(got, "no wait") {
		t.Errorf("a verdict without a wait prints %q", got)
	}
}
