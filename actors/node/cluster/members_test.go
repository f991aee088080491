package cluster

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// three is node 1 of three.
func three() Membership {
	return Membership{Cluster: ID{1, 2, 3, 15: 9}, Node: 1, Members: []Member{
		{1, "10.0.0.1:9870", "10.0.0.1:9876"},
		{2, "node-2.internal:9870", "node-2.example.org:9876"},
		{3, "[fd00::3]:9870", "[fd00::3]:9876"},
	}}
}

func TestMembershipSurvives(t *testing.T) {
	one := Membership{Cluster: ID{7}, Node: 31, Members: []Member{{31, "h:1", "h:2"}}}
	for _, m := range []Membership{three(), one} {
		dir := filepath.Join(t.TempDir(), "new", "data")
		if is, err := IsMember(dir); is || err != nil {
			t.Fatalf("a missing directory: %v %v", is, err)
		}
		if err := Init(dir, m); err != nil {
			t.Fatal(err)
		}
		if is, err := IsMember(dir); !is || err != nil {
			t.Fatalf("after Init: %v %v", is, err)
		}
		got, err := ReadMembership(dir)
		if err != nil || !reflect.DeepEqual(*got, m) {
			t.Fatalf("got %+v, %v; want %+v", got, err, m)
		}
	}
	m := three()
	first, err := firstTable(&m)
	if err != nil {
		t.Fatal(err)
	}
	if p := first.peers(1); len(p) != 2 || p[2].Address != "node-2.internal:9870" || p[3].Address != "[fd00::3]:9870" {
		t.Fatalf("peers %v", p)
	}
}

func TestInitRefusesUsedDirectory(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{"journal": "it has journal", "cluster": "of a member already"} {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := Init(dir, three()); err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("a directory with %s: %v", name, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	// What a volume has by itself, and what an Init left that was killed, are no reason.
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "lost+found"), 0o700),
		os.WriteFile(filepath.Join(dir, "cluster.tmp"), []byte("half"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := Init(dir, three()); err != nil {
		t.Fatal(err)
	}
}

// A Join that was killed left the table of its cluster.
func TestInitAfterKilledJoin(t *testing.T) {
	m := three()
	m.Cluster, m.Joined = ID{9}, true
	other, err := firstTable(&m)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := Join(dir, ticket(&m, other)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(filepath.Join(dir, membersFile)),
		os.WriteFile(filepath.Join(dir, tableFile+".tmp"), other.encode(), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := Init(dir, three()); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); !slices.Equal(got, []string{membersFile}) {
		t.Fatalf("files %v: the peers of another cluster are left", got)
	}
}

func TestDamagedMembershipIsRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadMembership(dir); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "cluster init") {
		t.Fatalf("no file: %v", err)
	}
	m := three()
	whole := m.encode()
	path := filepath.Join(dir, membersFile)
	read := func(file []byte) error {
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadMembership(dir)
		return err
	}
	for n := range whole {
		if err := read(whole[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes were accepted", n, len(whole))
		}
		damaged := bytes.Clone(whole)
		damaged[n] ^= 1
		if err := read(damaged); err == nil {
			t.Fatalf("a wrong bit in byte %d was accepted", n)
		}
	}
	if err := read(append(bytes.Clone(whole), '\n')); err == nil {
		t.Fatal("a further line was accepted")
	}
	if err := read(whole); err != nil {
		t.Fatal(err)
	}
}

func TestWrongMembershipIsRefused(t *testing.T) {
	change := func(f func(m *Membership)) error {
		m := three()
		f(&m)
		return Init(t.TempDir(), m)
	}
	for want, f := range map[string]func(m *Membership){
		"use one node, or three":   func(m *Membership) { m.Members = m.Members[:2] },
		"no members":               func(m *Membership) { m.Members = nil },
		"node 4 is none":           func(m *Membership) { m.Node = 4 },
		"identity":                 func(m *Membership) { m.Cluster = ID{} },
		"name each member once":    func(m *Membership) { m.Members[1].Node = 1 },
		"use 1 to 31":              func(m *Membership) { m.Members[2].Node = 32 },
		"node 1 and of node 2":     func(m *Membership) { m.Members[1].Client = "10.0.0.1:9870" },
		"node 3 and of node 3":     func(m *Membership) { m.Members[2].Client = m.Members[2].Peer },
		"is where a process list":  func(m *Membership) { m.Members[1].Peer = "0.0.0.0:9870" },
		"port from 1 to 65535":     func(m *Membership) { m.Members[1].Client = "10.0.0.1:0" },
		"a host name or an IP add": func(m *Membership) { m.Members[1].Client = "a b:1" },
	} {
		if err := change(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	for n := range 5 {
		if err := change(func(m *Membership) {
			for i := range n {
				x := Member{Node: uint8(4 + i), Peer: "h:" + string(rune('1'+i)), Client: "g:" + string(rune('1'+i))}
				m.Members = append(m.Members, x)
			}
		}); err != nil {
			t.Errorf("%d members: %v", 3+n, err)
		}
	}
	eight := three()
	for i := range 5 {
		eight.Members = append(eight.Members, Member{Node: uint8(4 + i), Peer: "h:1", Client: "g:1"})
	}
	if err := eight.Check(); err == nil || !strings.Contains(err.Error(), "three to 7") {
		t.Errorf("eight members: %v", err)
	}
}

func TestParseMember(t *testing.T) {
	for _, text := range []string{"", "1", "1=h:1", "=h:1,h:2", "x=h:1,h:2", "0=h:1,h:2", "32=h:1,h:2", "1=h,h:2",
		"1=h:1,h:2,h:3", "1=h:1,:2", "1=[::]:1,h:2", "999=h:1,h:2"} {
		if m, err := ParseMember(text); err == nil {
			t.Errorf("%q is %+v", text, m)
		}
	}
	m, err := ParseMember("3=[::1]:1,h:2")
	if err != nil || m != (Member{3, "[::1]:1", "h:2"}) || m.String() != "3=[::1]:1,h:2" {
		t.Fatalf("%+v %v", m, err)
	}
}
