package durability

import (
	"strings"
	"testing"
)

func must(t testing.TB, text string, nodes int) Policy {
	t.Helper()
	p, err := Parse(text, nodes)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParseAccepts(t *testing.T) {
	for _, test := range []struct{ sentence, text, prints, name string }{
		{"a single clause", "persisted>=1", "persisted>=1", "local"},
		{"two clauses", "persisted>=1 && in_memory>=2", "persisted>=1 && in_memory>=2", "hybrid"},
		{"the order of clauses is kept, and a name applies only to its own order",
			"in_memory>=2 && persisted>=1", "in_memory>=2 && persisted>=1", ""},
		{"four clauses", "in_memory>=1 && in_memory>=2 && persisted>=1 && persisted>=3",
			"in_memory>=1 && in_memory>=2 && persisted>=1 && persisted>=3", ""},
		{"the same clause twice", "persisted>=1&&persisted>=1", "persisted>=1 && persisted>=1", ""},
		{"blanks around the parts", "\t persisted >= 1&&  in_memory>= 2\n",
			"persisted>=1 && in_memory>=2", "hybrid"},
		{"the name local", "local", "persisted>=1", "local"},
		{"the name hybrid", "hybrid", "persisted>=1 && in_memory>=2", "hybrid"},
		{"the name replicated", "replicated", "in_memory>=2", "replicated"},
		{"the name durably-replicated", "durably-replicated", "persisted>=2", "durably-replicated"},
		{"the alias disk", "disk", "persisted>=1", "local"},
		{"the alias disk+ram", " disk+ram ", "persisted>=1 && in_memory>=2", "hybrid"},
		{"the alias ram", "ram", "in_memory>=2", "replicated"},
		{"the alias two-disks", "two-disks", "persisted>=2", "durably-replicated"},
		{"no wait at all", "in_memory>=1", "in_memory>=1", ""},
	} {
		t.Run(test.sentence, func(t *testing.T) {
			p := must(t, test.text, DefaultNodes)
			if p.String() != test.prints || p.Name() != test.name {
				t.Errorf("Parse(%q) prints %q named %q, want %q named %q", test.text, p, p.Name(),
					test.prints, test.name)
			}
			if again := must(t, p.String(), DefaultNodes); again != p {
				t.Errorf("%q parsed again is %q", p, again)
			}
		})
	}
}

func TestParseErrorsNameClauseValueAndFix(t *testing.T) {
	for _, test := range []struct {
		sentence, text string
		nodes          int
		says           []string
	}{
		{"no text", "", 3, []string{"without a clause", "write at least one"}},
		{"blanks only", " \t", 3, []string{"without a clause"}},
		{"count 0", "persisted>=0", 3, []string{`clause 1 "persisted>=0"`, "count 0", "1 to 3"}},
		{"a count above the cluster", "persisted>=1 && in_memory>=4", 3,
			[]string{`clause 2 "in_memory>=4"`, "count 4", "above 3, the most nodes", "1 to 3"}},
		{"a count above every cluster", "persisted>=99999999999", 3,
			[]string{`clause 1`, `"99999999999"`, "1 to 16"}},
		{"an unknown level", "persisted>=1 && on_tape>=2", 3,
			[]string{`clause 2 "on_tape>=2"`, `unknown level "on_tape"`, "in_memory or persisted"}},
		{"a level in capitals", "Persisted>=1", 3, []string{`unknown level "Persisted"`}},
		{"no level", ">=1", 3, []string{`clause 1 ">=1"`, `unknown level ""`}},
		{"trailing text", "persisted>=1 please", 3,
			[]string{`clause 1 "persisted>=1 please"`, `"1 please"`, "nothing after it"}},
		{"one ampersand", "persisted>=1 & in_memory>=2", 3,
			[]string{"clause 1", `join clauses with "&&"`}},
		{"a signed count", "persisted>=+1", 3, []string{`"+1" is not a plain number`}},
		{"a negative count", "persisted>=-1", 3, []string{`"-1" is not a plain number`}},
		{"a leading zero", "persisted>=01", 3, []string{`"01" is not a plain number`}},
		{"no count", "persisted>=", 3, []string{`"" is not a plain number`}},
		{"another comparison", "persisted>1", 3, []string{`clause 1 "persisted>1"`, "level>=count"}},
		{"an unknown name", "hybird", 3, []string{`"hybird"`, "hybrid"}},
		{"a name in a clause", "local && in_memory>=2", 3,
			[]string{`clause 1 "local"`, "whole policy"}},
		{"an empty clause at the end", "persisted>=1 &&", 3, []string{`clause 2 ""`, "drop the"}},
		{"an empty clause in front", "&& persisted>=1", 3, []string{`clause 1 ""`}},
		{"five clauses", "persisted>=1&&persisted>=1&&persisted>=1&&persisted>=1&&persisted>=2", 3,
			[]string{`clause 5 "persisted>=2"`, "at most 4"}},
		{"a name too large for the cluster", "hybrid", 1,
			[]string{`policy "hybrid"`, `clause 2 "in_memory>=2"`, "above 1, the most nodes"}},
		{"a cluster of none", "local", 0, []string{"cluster size 0", "1 to 16"}},
		{"a cluster too large", "local", 17, []string{"cluster size 17", "1 to 16"}},
		{"a long invalid text is cut", strings.Repeat("x", 10_000), 3, []string{`..."`[:3]}},
	} {
		t.Run(test.sentence, func(t *testing.T) {
			p, err := Parse(test.text, test.nodes)
			if err == nil || p != (Policy{}) {
				t.Fatalf("Parse(%q) = %q, %v; want an error and no policy", test.text, p, err)
			}
			if !strings.HasPrefix(err.Error(), "durability: ") || len(err.Error()) > 400 {
				t.Errorf("error does not name the package or is too long: %v", err)
			}
			for _, part := range test.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
}

func TestNewPolicyRejectsInvalidClauses(t *testing.T) {
	for _, test := range []struct {
		sentence string
		clauses  []Clause
		says     string
	}{
		{"no clause", nil, "without a clause"},
		{"a level that was not set", []Clause{{Count: 1}}, `clause 1 "level(0)>=1": unknown level`},
		{"a level above all", []Clause{{Persisted, 1}, {Level(9), 1}}, `clause 2 "level(9)>=1"`},
		{"a negative count", []Clause{{Persisted, -1}},
			`clause 1 "persisted>=-1": count -1 asks for no node`},
		{"a count that would not fit a byte", []Clause{{Persisted, 257}},
			"count 257 is above 3, the most nodes"},
		{"five clauses", make([]Clause, 5), "clause 5"},
	} {
		t.Run(test.sentence, func(t *testing.T) {
			if _, err := NewPolicy(3, test.clauses...); err == nil ||
				!strings.Contains(err.Error(), test.says) {
				t.Errorf("error is %v, want it to say %q", err, test.says)
			}
		})
	}
}

func TestDefaultIsLocalWithoutReplicasAndHybridWithAny(t *testing.T) {
	if Default(0) != Local() || Default(1) != Hybrid() || Default(15) != Hybrid() {
		t.Errorf("defaults are %q, %q, %q", Default(0), Default(1), Default(15))
	}
	for replicas := range MaxNodes {
		if err := Default(replicas).MetBy(replicas + 1); err != nil {
			t.Errorf("the default with %d replicas cannot be met: %v", replicas, err)
		}
	}
}

func TestMetByExplainsWhatCannotBeMet(t *testing.T) {
	p := must(t, "persisted>=1 && in_memory>=3", 3)
	if err := p.MetBy(3); err != nil {
		t.Errorf("three nodes meet %q: %v", p, err)
	}
	err := p.MetBy(1)
	if err == nil {
		t.Fatalf("one node cannot meet %q", p)
	}
	for _, part := range []string{`"persisted>=1 && in_memory>=3"`, `clause 2 "in_memory>=3"`,
		"3 nodes", "0 replicas", "force"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	if err := (Policy{}).MetBy(16); err == nil {
		t.Error("the zero Policy is reported as met")
	}
}

func TestLevelsAreOrdered(t *testing.T) {
	if InMemory >= Persisted {
		t.Error("in_memory is the weaker level")
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "local", "disk+ram", "persisted>=1 && in_memory>=2",
		"persisted>=01", "in_memory >= 16&&",
		"persisted>=1 && in_memory>=2 x", "&&&&", "persisted>=99999999999999999999"} {
		f.Add(seed, 3)
	}
	f.Fuzz(func(t *testing.T, text string, nodes int) {
		p, err := Parse(text, nodes)
		if err != nil {
			if p != (Policy{}) {
				t.Fatalf("Parse(%q, %d) gave %q with the error %v", text, nodes, p, err)
			}
			return
		}
		if p.Len() < 1 || p.Len() > MaxClauses {
			t.Fatalf("Parse(%q) has %d clauses", text, p.Len())
		}
		for i := range p.Len() {
			if c := p.Clause(i); c.Count < 1 || c.Count > nodes ||
				(c.Level != InMemory && c.Level != Persisted) {
				t.Fatalf("Parse(%q, %d) let clause %q pass", text, nodes, c)
			}
		}
		again, err := Parse(p.String(), nodes)
		if err != nil || again != p {
			t.Fatalf("%q prints as %q, which parses to %q, %v", text, p, again, err)
		}
		if name := p.Name(); name != "" {
			if again, err = Parse(name, nodes); err != nil || again != p {
				t.Fatalf("%q is named %q, which parses to %q, %v", p, name, again, err)
			}
		}
		// A text that String does not print, apart from blanks, must be a name.
		squeezed := strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "")
		if s := squeezed.Replace(text); s != squeezed.Replace(p.String()) && p.Name() == "" {
			t.Fatalf("%q was read as %q", text, p)
		}
	})
}
