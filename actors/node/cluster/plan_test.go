package cluster

import (
	"fmt"
	"strings"
	"testing"

	"sluice/actors/node"
	"sluice/durability"
	"sluice/durability/raftlog"
)

// situationOf is that of node 1, which leads, with voters and learners by number; those of down are not up.
func situationOf(t *testing.T, voters, learners, down []uint8, policy string) *situation {
	t.Helper()
	m := raftlog.Members{Index: 9, Gone: []uint64{raftlog.NodeID(8, 2)}}
	add := func(numbers []uint8, role raftlog.Role) {
		for _, n := range numbers {
			m.All = append(m.All, raftlog.Member{ID: uint64(n), Role: role, Info: fmt.Sprintf("10.0.0.%d:1,10.0.0.%d:2", n, n)})
		}
	}
	add(voters, raftlog.Voter)
	add(learners, raftlog.Learner)
	s := &situation{self: 1}
	var err error
	if s.table, err = newTable(m); err != nil {
		t.Fatal(err)
	}
	if s.policy, err = durability.Parse(policy, durability.MaxNodes); err != nil {
		t.Fatal(err)
	}
	s.alive = func(id uint64) bool { return !strings.ContainsRune(string(down), rune(id)) }
	s.near = s.alive
	return s
}

func TestChangesThatAreRefused(t *testing.T) {
	three, new4 := []uint8{1, 2, 3}, node.MemberChange{Verb: "add", Node: 4, Peer: "10.0.0.4:1", Client: "10.0.0.4:2"}
	with := func(f func(c *node.MemberChange)) node.MemberChange { c := new4; f(&c); return c }
	verb := func(v string, n uint8) node.MemberChange { return node.MemberChange{Verb: v, Node: n} }
	force := func(c node.MemberChange) node.MemberChange { c.Force = true; return c }
	for _, tt := range []struct {
		voters, learners, down []uint8
		policy                 string
		change                 node.MemberChange
		want                   string // "": it is possible
	}{
		{three, nil, nil, "persisted>=2", new4, ""},
		{three, nil, nil, "persisted>=2", with(func(c *node.MemberChange) { c.Node = 2 }), "is a member already"},
		{three, nil, nil, "persisted>=2", with(func(c *node.MemberChange) { c.Peer = "10.0.0.2:2" }), "an address of node 2"},
		{three, nil, nil, "persisted>=2", with(func(c *node.MemberChange) { c.Client = "10.0.0.4" }), "write host:port"},
		{three, nil, nil, "persisted>=2 && in_memory>=3", new4, "\"persisted>=3\" in force first"},
		{three, nil, nil, "persisted>=2 && in_memory>=3", with(func(c *node.MemberChange) { c.Learner = true }), ""},
		{three, nil, nil, "persisted>=2", verb("grow", 4), "cannot be \"grow\""},

		{three, []uint8{4}, nil, "persisted>=2", verb("promote", 4), ""},
		{three, []uint8{4}, nil, "persisted>=2", verb("promote", 5), "is not a member"},
		{three, []uint8{4}, nil, "persisted>=2", verb("promote", 2), "is a voter already"},
		{three, []uint8{4}, []uint8{4}, "persisted>=2", verb("promote", 4), "has not caught up"},
		{three, []uint8{4}, []uint8{2, 3}, "persisted>=2", verb("promote", 4), "2 of the 4 voters after the change are up"},
		{three, []uint8{4}, nil, "in_memory>=2", verb("promote", 4), "would be exposed with 4"},
		{[]uint8{1}, []uint8{2}, nil, "persisted>=1", verb("promote", 2), "two voters would be left"},
		{[]uint8{1}, []uint8{2}, nil, "persisted>=1", force(verb("promote", 2)), ""},
		{[]uint8{1}, []uint8{2, 3}, nil, "persisted>=1", node.MemberChange{Verb: "promote", Node: 2, With: []uint8{3}}, ""},
		{three, []uint8{4}, nil, "persisted>=2", node.MemberChange{Verb: "promote", Node: 4, InsteadOf: 2}, ""},
		{three, []uint8{4}, nil, "persisted>=2", node.MemberChange{Verb: "promote", Node: 4, InsteadOf: 1}, "node 1 leads"},

		{three, nil, nil, "persisted>=2", verb("remove", 2), "two voters would be left"},
		{three, nil, nil, "persisted>=2", force(verb("remove", 2)), ""},
		{three, nil, []uint8{3}, "persisted>=2", force(verb("remove", 2)), "1 of the 2 voters after the change are up"},
		{[]uint8{1, 2}, nil, nil, "persisted>=2", verb("remove", 2), "one voter would be left"},
		{[]uint8{1, 2, 3, 4}, nil, nil, "persisted>=3", verb("remove", 2), ""},
		{[]uint8{1, 2, 3, 4}, nil, nil, "persisted>=4", verb("remove", 2), "could not be met"},
		{[]uint8{1, 2, 3, 4}, nil, nil, "persisted>=3", verb("remove", 1), "node 1 leads"},
		{[]uint8{1, 2, 3, 4}, nil, nil, "persisted>=3", verb("remove", 6), "is not a member"},
		{three, []uint8{4}, nil, "persisted>=2", verb("remove", 4), ""},

		{three, nil, []uint8{2}, "persisted>=2", verb("replace", 2), ""},
		{three, nil, nil, "persisted>=2", verb("replace", 2), "node 2 is up"},
		{three, nil, nil, "persisted>=2", force(verb("replace", 2)), ""},
		{three, nil, []uint8{2, 3}, "persisted>=2", verb("replace", 2), "1 of the 2 voters after the change are up"},
		{three, nil, nil, "persisted>=2", verb("replace", 1), "node 1 leads"},
	} {
		s := situationOf(t, tt.voters, tt.learners, tt.down, tt.policy)
		s.force = tt.change.Force
		_, err := s.of(&tt.change)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("voters %v, learners %v, down %v, %s: %+v: %v; want %q", tt.voters, tt.learners, tt.down, tt.policy,
				tt.change, err, tt.want)
		}
	}
}

// A policy that is met by a majority before a change and after it is in force at any time.
func TestPolicyFollowsTheVoters(t *testing.T) {
	s := situationOf(t, []uint8{1, 2, 3}, []uint8{4, 5}, nil, "persisted>=2")
	p, err := s.promote([]uint8{4, 5}, 0)
	if err != nil || p.before != durability.Majority(5) || len(p.Set) != 2 {
		t.Errorf("three voters become five with %+v, %v", p, err)
	}
	s = situationOf(t, []uint8{1, 2, 3, 4}, nil, nil, "persisted>=3")
	if p, err = s.remove(2); err != nil || p.before.Len() > 0 || p.after != durability.Majority(3) {
		t.Errorf("four voters become three with %+v, %v", p, err)
	}
	s = situationOf(t, []uint8{1, 2, 3, 4}, nil, []uint8{4}, "persisted>=3")
	if p, err = s.replace(4, "", ""); err != nil || p.before.Len() > 0 || p.after != durability.Majority(3) {
		t.Errorf("of four voters one begins anew with %+v, %v", p, err)
	}
	s = situationOf(t, []uint8{1, 2, 3}, nil, nil, "persisted>=4")
	if p, lags := s.fitting(); !lags || p != durability.Majority(3) {
		t.Errorf("the policy of six voters goes on with three: %v, %t", p, lags)
	}
	s = situationOf(t, []uint8{1, 2, 3}, nil, nil, "persisted>=3")
	if p, lags := s.fitting(); lags {
		t.Errorf("a policy that three voters can meet is replaced by %v", p)
	}
}

// A number that was in use before gets the next generation.
func TestGenerationRises(t *testing.T) {
	s := situationOf(t, []uint8{1, 2, 3}, nil, []uint8{2}, "persisted>=2")
	p, err := s.replace(2, "10.0.0.9:1", "")
	if err != nil || p.id != raftlog.NodeID(2, 1) || p.Set[0].Info != "10.0.0.9:1,10.0.0.2:2" || p.Remove[0] != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	p, err = s.add(Member{8, "10.0.0.8:1", "10.0.0.8:2"}, false)
	if err != nil || p.id != raftlog.NodeID(8, 3) {
		t.Errorf("number 8, which had generation 2, comes back as %+v, %v", p, err)
	}
}

func TestTableSurvives(t *testing.T) {
	s := situationOf(t, []uint8{1, 2, 3}, []uint8{4}, nil, "persisted>=2")
	s.All[3].Info += stays
	again, err := decodeTable(s.encode())
	if err != nil || fmt.Sprint(again.Members) != fmt.Sprint(s.Members) || !again.rows[3].stays {
		t.Errorf("%+v, %v; want %+v", again, err, s.Members)
	}
	whole := s.encode()
	for n := range whole {
		damaged := append([]byte(nil), whole...)
		damaged[n] ^= 1
		if _, err := decodeTable(damaged); err == nil {
			t.Fatalf("a wrong bit in byte %d was accepted", n)
		}
		if _, err := decodeTable(whole[:n]); err == nil {
			t.Fatalf("the first %d bytes were accepted", n)
		}
	}
}

func TestWrongTicketIsRefused(t *testing.T) {
	m := three()
	m.Node, m.Joined = 4, true
	first, err := firstTable(&m)
	if err != nil {
		t.Fatal(err)
	}
	good := ticket(&m, first)
	for want, text := range map[string]string{"illegal base64": "no ticket!", "it begins with": "bm8",
		"none of its members": good,
		"in one piece":        good[:len(good)/2]} {
		if _, err := Join(t.TempDir(), text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v; want %q", text, err, want)
		}
	}
}
