//go:build linux

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluice/actors/node"
)

// servingAlone starts the only member of a cluster, and returns the flags for its admin socket.
func servingAlone(t *testing.T, args ...string) (p *process, socket []string, dir string) {
	t.Helper()
	dir, client := filepath.Join(t.TempDir(), "data"), freeAddress(t)
	if out, problems, code := local("cluster", "init", "--data-dir", dir, "--node", "1", "--member",
		"1="+freeAddress(t)+","+client); code != 0 {
		t.Fatalf("%s%s", out, problems)
	}
	path := filepath.Join(t.TempDir(), "admin")
	p = start(t, append([]string{"serve", "--cluster", "--data-dir", dir, "--listen-tcp", client, "--admin-address",
		"127.0.0.1:0", "--admin-socket", path}, args...)...)
	p.err.await(t, "this node leads")
	p.err.await(t, "msg=serving")
	p.out.await(t, "kill drains")
	return p, []string{"--admin-socket", path}, dir
}

func TestClusterStatusAndTransfer(t *testing.T) {
	_, socket, _ := servingAlone(t)
	out, problems, code := local(append([]string{"cluster", "status"}, socket...)...)
	for _, want := range []string{"leader 1 (since ", "quorum 1 of 1", "(committed)", "1*", "voter"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit code %d, %q is not in %s%s", code, want, out, problems)
		}
	}
	out, problems, code = local(append([]string{"cluster", "status", "--json"}, socket...)...)
	var c node.Cluster
	if err := json.Unmarshal([]byte(out), &c); err != nil || code != 0 || c.Leader != 1 || len(c.Members) != 1 ||
		c.Members[0].Match == nil {
		t.Errorf("exit code %d, %v: %s%s", code, err, out, problems)
	}
	out, problems, code = local(append([]string{"top", "--once"}, socket...)...)
	if code != 0 || !strings.Contains(out, "node 1: leader, term ") || !strings.Contains(out, "class committed") {
		t.Errorf("exit code %d: %s%s", code, out, problems)
	}
	for _, tt := range []struct {
		words []string
		code  int
		want  string
	}{
		{[]string{"cluster", "transfer", "2"}, exitFailure, "cannot be the next leader"},
		{[]string{"cluster", "transfer"}, exitFailure, "no other member that could lead"},
		{[]string{"cluster", "transfer", "two"}, exitUsage, "the number of one member"},
		{[]string{"cluster", "transfer", "1", "2"}, exitUsage, "the number of one member"},
		{[]string{"cluster", "status", "now"}, exitUsage, "takes no arguments"},
	} {
		if out, problems, code := local(append(tt.words, socket...)...); code != tt.code ||
			!strings.Contains(problems, tt.want) {
			t.Errorf("%v: exit code %d, %s%s", tt.words, code, out, problems)
		}
	}
}

// A member has the audit file and the admin address with TLS of a single server.
func TestMemberIsAudited(t *testing.T) {
	r := newTrailRig(t)
	if err := os.WriteFile(r.path("token"), []byte(strings.Repeat("good", 8)), 0o600); err != nil {
		t.Fatal(err)
	}
	certificate(t, r.dir, "server")
	p, _, _ := servingAlone(t, "--authorized-keys", r.path("keys"), "--audit-file", r.path("audit"),
		"--admin-tls", "127.0.0.1:0", "--admin-token-file", r.path("token"),
		"--tls-cert", r.path("server.crt"), "--tls-key", r.path("server.key"))
	_, rest, _ := strings.Cut(p.out.String(), "https://")
	at, _, _ := strings.Cut(rest, "/")
	for _, tt := range []struct {
		words string
		code  int
	}{
		{"cluster status", exitOK},
		{"admin policy persisted>=1", exitOK},
		{"cluster transfer 2", exitFailure},
		{"cluster add 2 --peer-addr 127.0.0.1:9 --client-addr 127.0.0.1:10", exitOK},
	} {
		words := append(strings.Fields(tt.words), "--admin-tls", at, "--ca", r.path("server.crt"),
			"--token-file", r.path("token"))
		if out, problems, code := local(words...); code != tt.code {
			t.Errorf("%s: exit code %d: %s%s", tt.words, code, out, problems)
		}
	}
	expect(t, p.address(), 0, "buy 1 1 @ 5 --account 1 --key "+r.path("anna"), "accepted")
	p.signal(syscall.SIGTERM)
	p.ends(0)
	all := r.read("audit")
	for _, want := range [][]string{
		{"what", "start", "authorized_keys", r.path("keys")},
		{"what", "command", "command", "/policy", "from", "token, https", "request", "persisted>=1", "status", "200"},
		{"what", "command", "command", "/transfer", "from", "token, https", "error", ""},
		{"what", "command", "command", "/members", "from", "token, https", "request", "127.0.0.1:9", "status", "200"},
		{"what", "login", "name", "anna", "role", "trader"},
		{"what", "stop"},
	} {
		if got := find(all, want...); len(got) != 1 {
			t.Errorf("%d lines have %q: %v", len(got), want, all)
		}
	}
}
