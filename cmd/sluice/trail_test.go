package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// trailRig is a server with keys of an operator and a trader, and with an audit file.
type trailRig struct {
	t   *testing.T
	dir string
}

func newTrailRig(t *testing.T) *trailRig {
	r := &trailRig{t: t, dir: t.TempDir()}
	r.authorize(r.key("boss", "operator"), r.key("anna", "trader")+" accounts=1")
	return r
}

func (r *trailRig) path(name string) string { return filepath.Join(r.dir, name) }

// key makes a key and returns its line.
func (r *trailRig) key(name, role string) string {
	r.t.Helper()
	line, problems, code := local("client", "keygen", r.path(name), role)
	if code != exitOK {
		r.t.Fatal(problems)
	}
	return strings.TrimSpace(line) + " name=" + name
}

func (r *trailRig) authorize(lines ...string) {
	r.t.Helper()
	if err := os.WriteFile(r.path("keys"), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *trailRig) serve(more ...string) (p *process, address string) {
	return serving(r.t, r.path("data"), append([]string{"--authorized-keys", r.path("keys"),
		"--audit-file", r.path("audit"),
		"--admin-socket", r.path("admin"), "--config", r.path("config")}, more...)...)
}

// command runs sluice admin.
func (r *trailRig) command(want int, words ...string) {
	r.t.Helper()
	if out, problems, code := local(append([]string{"admin"}, words...)...); code != want {
		r.t.Errorf("admin %q: exit code %d: %s%s", words, code, out, problems)
	}
}

// read returns the lines of the audit file, of which each is an object with time and what.
func (r *trailRig) read(name string) (all []map[string]any) {
	r.t.Helper()
	text, err := os.ReadFile(r.path(name))
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var one map[string]any
		if err := json.Unmarshal([]byte(line), &one); err != nil || one["time"] == nil || one["what"] == nil ||
			!strings.HasSuffix(line, "\n") {
			r.t.Fatalf("%v: %q", err, line)
		}
		all = append(all, one)
	}
	return all
}

// awaits waits for a line in a file of lines, which need not exist yet.
func (r *trailRig) awaits(name string, fields ...string) {
	r.t.Helper()
	until(r.t, fmt.Sprint(fields), func() error {
		if _, err := os.Stat(r.path(name)); err != nil {
			return err
		}
		if len(find(r.read(name), fields...)) == 0 {
			return errors.New("no such line")
		}
		return nil
	})
}

// find returns the lines whose fields have these values, as they are printed.
func find(all []map[string]any, fields ...string) []map[string]any {
	return slices.DeleteFunc(slices.Clone(all), func(one map[string]any) bool {
		for i := 0; i < len(fields); i += 2 {
			if !strings.Contains(fmt.Sprint(one[fields[i]]), fields[i+1]) {
				return true
			}
		}
		return false
	})
}

// Everything that the audit file promises, done by a real server, is in it.
func TestAuditFile(t *testing.T) {
	r := newTrailRig(t)
	configure := func(text string) {
		if err := os.WriteFile(r.path("config"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure("soft-limit: 64KiB\n")
	r.key("eve", "trader")
	p, address := r.serve()
	admin := []string{"--admin-socket", r.path("admin")}
	operator := []string{"--address", address, "--key", r.path("boss")}
	expect(t, address, 0, "buy 1 1 @ 5 --account 1 --key "+r.path("anna"), "accepted")
	expect(t, address, 1, "top 1 --key "+r.path("eve"), "does not know the key")
	r.command(0, append(admin, "policy", "in_memory>=1")...)
	r.command(1, append(admin, "policy", "persisted>=3")...)
	r.command(0, append(operator, "policy", "local")...)
	r.command(1, append(admin, "kick", "anna")...)
	watching := watchServer(t, address, "--key", r.path("anna"), "--account", "1")
	r.command(0, append(admin, "kick", "anna")...)
	watching.out.await(t, "kicked")
	r.awaits("audit", "what", "connection closed", "name", "anna") // before her key is removed
	configure("soft-limit: 128KiB\n")
	if err := os.Rename(r.path("audit"), r.path("audit.1")); err != nil {
		t.Fatal(err)
	}
	r.authorize(r.key("carl", "readonly"), r.key("boss2", "operator"))
	p.signal(syscall.SIGHUP)
	p.err.await(t, "keys reloaded")
	r.awaits("audit", "what", "reload")
	if got := p.scraped(`sluice_audit_lost_total{kind="dropped"}`); got != "0" {
		t.Errorf("lost lines at /metrics: %q", got)
	}
	r.command(0, append(admin, "drain")...)
	p.ends(0)
	before, after := r.read("audit.1"), r.read("audit")
	all := append(before, after...)
	for _, want := range [][]string{
		{"what", "start", "version", "", "authorized_keys", r.path("keys"), "insecure", "false", "policy", "local"},
		{"what", "login", "name", "anna", "role", "trader", "from", "127.0.0.1:", "listener", "127.0.0.1:0", "key", ""},
		{"what", "login refused", "reason", "unknown_key", "from", "127.0.0.1:"},
		{"what", "login", "name", "boss", "role", "operator"},
		{"what", "command", "command", "/policy", "from", "user id", "request", "in_memory>=1", "status", "200",
			"done", "policy in_memory>=1 is in force; it was persisted>=1"},
		{"what", "command", "command", "/policy", "status", "422", "request", "persisted>=3", "error", "refused"},
		{"what", "command", "command", "/policy", "from", "operator, boss, ", "request", "local", "status", "200"},
		{"what", "command", "command", "/kick", "status", "404", "request", "map[key:anna]"},
		{"what", "command", "command", "/kick", "status", "200", "done", "1"},
		{"what", "connection closed", "reason", "kicked", "name", "anna", "role", "trader"},
		{"what", "reload", "changed", "[soft-limit: 64KiB -> 128KiB]",
			"keys", "added: carl, boss2; removed: boss, anna", "limits", "reloaded"},
		{"what", "login refused", "role", "<nil>"},
		{"what", "command", "command", "/drain", "status", "202"},
	} {
		if got := find(all, want...); len(got) != 1 && !slices.Contains(want, "login") {
			t.Errorf("%d lines have %q", len(got), want)
		} else if len(got) == 0 {
			t.Errorf("no line has %q", want)
		}
	}
	if all[0]["what"] != "start" || all[len(all)-1]["what"] != "stop" || all[len(all)-1]["error"] != nil {
		t.Errorf("the first line is %v, the last one %v", all[0], all[len(all)-1])
	}
	if len(find(before, "what", "reload")) != 0 || len(find(after, "what", "login")) != 0 {
		t.Errorf("the rotation is in the wrong place:\n%v\n%v", before, after)
	}
	if t.Failed() {
		for _, one := range all {
			t.Log(one)
		}
	}
}
