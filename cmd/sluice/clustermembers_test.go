//go:build linux

package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sluice/actors/node/cluster"
)

func TestClusterMembersAreChanged(t *testing.T) {
	_, socket, first := servingAlone(t)
	run := func(words ...string) (out, problems string, code int) {
		return local(append(append([]string{"cluster"}, words...), socket...)...)
	}
	peer, client := freeAddress(t), freeAddress(t)
	out, problems, code := run("add", "2", "--peer-addr", peer, "--client-addr", client)
	join := regexp.MustCompile(`--join (\S+)`).FindStringSubmatch(out)
	if code != 0 || join == nil || !strings.Contains(out, "--listen-tcp "+client) {
		t.Fatalf("exit code %d: %s%s", code, out, problems)
	}
	dir := filepath.Join(t.TempDir(), "2")
	if out, problems, code := local("cluster", "init", "--data-dir", dir, "--join", join[1]); code != 0 {
		t.Fatalf("exit code %d: %s%s", code, out, problems)
	}
	m, err := cluster.ReadMembership(dir)
	if err != nil || m.Node != 2 || !m.Joined {
		t.Fatalf("%+v, %v", m, err)
	}
	if now, err := cluster.ReadCurrent(dir, m); err != nil || len(now.Peers) != 1 || now.Self.Client != client ||
		now.Voters != 1 {
		t.Fatalf("%+v, %v", now, err)
	}
	if out, problems, code := run("status"); code != 0 || !strings.Contains(out, "learner") ||
		!strings.Contains(out, "quorum 1 of 1") {
		t.Errorf("exit code %d: %s%s", code, out, problems)
	}
	for _, tt := range []struct {
		code  int
		want  string
		words []string
	}{
		{exitFailure, "has not caught up", []string{"promote", "2"}},
		{exitFailure, "is a member already", []string{"add", "2", "--peer-addr", peer, "--client-addr", client}},
		{exitFailure, "node 1 leads", []string{"replace", "1"}},
		{exitUsage, "--peer-addr and --client-addr", []string{"add", "3"}},
		{exitUsage, "the number of a node", []string{"remove", "2", "3"}},
		{exitUsage, "the number of the node", []string{"remove"}},
		{exitUsage, "leave them out", []string{"init", "--join", join[1], "--node", "2"}},
		{exitFailure, "the ticket", []string{"init", "--join", "x", "--data-dir", filepath.Join(t.TempDir(), "x")}},
		{exitFailure, "a server has", []string{"init", "--from", first, "--node", "1", "--member", "1=" +
			peer + "," + client}},
	} {
		words := append([]string{"cluster"}, tt.words...)
		if tt.words[0] != "init" {
			words = append(words, socket...)
		}
		if out, problems, code := local(words...); code != tt.code || !strings.Contains(problems, tt.want) {
			t.Errorf("%v: exit code %d, %s%s; want %q", tt.words, code, out, problems, tt.want)
		}
	}
	p := start(t, "serve", "--cluster", "--data-dir", dir, "--listen-tcp", client, "--admin-address", "127.0.0.1:0")
	p.address()
	if out, problems, code := run("remove", "2"); code != 0 {
		t.Errorf("exit code %d: %s%s", code, out, problems)
	}
	p.ends(0)
	lines := strings.Split(strings.TrimSpace(p.err.String()), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "sluice: ended for good: ") {
		t.Errorf("the log of a member that was removed ends with %q", last)
	}
}
