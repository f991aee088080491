package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Limits and keys are judged apart, and an operator who asks for a reload learns both results. So does
// the log after SIGHUP.
func TestReloadReportsLimitsAndKeys(t *testing.T) {
	dir := t.TempDir()
	name := func(n string) string { return filepath.Join(dir, n) }
	write := func(n, text string) {
		t.Helper()
		if err := os.WriteFile(name(n), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key := func(n, role string) string {
		t.Helper()
		line, problems, code := local("client", "keygen", name(n), role)
		if code != 0 {
			t.Fatal(problems)
		}
		return line
	}
	good, late := key("operator", "operator")+key("first", "trader"), key("late", "trader")
	write("limits", "soft-limit: 64KiB\n")
	write("keys", good)
	p, address := serving(t, name("data"), "--config", name("limits"), "--authorized-keys", name("keys"),
		"--admin-socket", name("admin"))
	bySocket := []string{"admin", "--admin-socket", name("admin")}
	byKey := []string{"admin", "--address", address, "--key", name("operator")}
	for _, v := range []struct {
		name, limits, keys string
		code               int
		want               []string
	}{
		{"both", "soft-limit: 128KiB\n", good + late, exitOK,
			[]string{"limits: reloaded; keys: reloaded, 3 keys"}},
		{"limits that need a restart", "soft-limit: 128KiB\nshards: 3\n", good, exitOK,
			[]string{"limits: reloaded; these need a restart: [shards]; keys: reloaded, 2 keys"}},
		{"limits cannot be", "soft-limit: 9MiB\n", good + late, exitFailure,
			[]string{"limits: rejected, unchanged: --hard-limit is 1MiB", "keys: reloaded, 3 keys"}},
		{"the file is empty", "", good, exitFailure,
			[]string{"limits: rejected", "write them: soft-limit: 256KiB", "keys: reloaded, 2 keys"}},
		{"keys cannot be", "soft-limit: 64KiB\n", "trader x\n", exitFailure,
			[]string{"limits: reloaded; keys: rejected, unchanged: ", "not base64"}},
		{"the keys are empty", "soft-limit: 64KiB\n", "", exitFailure,
			[]string{"keys: rejected", "no key in it"}},
	} {
		t.Run(v.name, func(t *testing.T) {
			write("limits", v.limits)
			write("keys", v.keys)
			for _, way := range [][]string{bySocket, byKey} {
				out, problems, code := local(append(way, "reload")...)
				if code != v.code {
					t.Errorf("exit code %d:\n%s%s", code, out, problems)
				}
				for _, w := range v.want {
					if !strings.Contains(out+problems, w) {
						t.Errorf("%q is missing:\n%s%s", w, out, problems)
					}
				}
			}
		})
	}
	if out, problems, code := local(append(bySocket, "--json", "reload")...); code != exitFailure ||
		!strings.HasPrefix(out, `{"error":"limits: reloaded; keys: rejected`) || !strings.HasPrefix(problems, "sluice: ") {
		t.Errorf("as JSON: exit code %d, %s%s", code, out, problems)
	}
	p.err.await(t, "limits: reloaded; keys: rejected, unchanged: ")
	if log := p.err.String(); strings.Contains(log, "command failed") ||
		!strings.Contains(log, `msg="reload is not complete" command=/reload`) ||
		!strings.Contains(log, "limits: reloaded; keys: rejected, unchanged: ") {
		t.Errorf("the results of reloads in part are missing, or are called failures:\n%s", log)
	}
	before := strings.Count(p.err.String(), "keys reloaded")
	write("limits", "soft-limit: 9MiB\n")
	write("keys", good+late)
	p.signal(syscall.SIGHUP)
	p.err.await(t, "reload of limits rejected; limits unchanged")
	p.err.awaitTimes(t, "keys reloaded", before+1)
	expect(t, address, 0, "top 1 --key "+name("late"), "bid none")
}

// A POST /reload while the server drains changes nothing.
func TestReloadDuringADrainIsRejected(t *testing.T) {
	r := newReloads(&service{})
	if _, err := r.ask(t.Context()); err == nil || !strings.Contains(err.Error(), "starts or drains") {
		t.Errorf("before the start: %v", err)
	}
	r.begin()
	r.end()
	if _, err := r.ask(t.Context()); err == nil || !strings.Contains(err.Error(), "starts or drains") {
		t.Errorf("in a drain: %v", err)
	}
}
