package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A policy that an operator has put in force is that of the next start, after a stop as after a kill, until
// an operator or a changed configuration names another. Each difference is in log, audit and banner.
func TestSwappedPolicyOutlivesTheServer(t *testing.T) {
	r := newTrailRig(t)
	if err := os.WriteFile(r.path("config"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	admin := []string{"--admin-socket", r.path("admin")}
	inForce := func(want string) {
		t.Helper()
		out, problems, code := local(append([]string{"admin", "policy"}, admin...)...)
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("the policy is %s%s, want %s", out, problems, want)
		}
	}
	audited := func(n int, what ...string) { // a killed server does not write what is queued
		t.Helper()
		until(t, what[0], func() error {
			if got := len(find(r.read("audit"), append([]string{"what"}, what...)...)); got != n {
				return fmt.Errorf("%d lines", got)
			}
			return nil
		})
	}
	p, _ := r.serve()
	r.command(0, append(admin, "policy", "in_memory>=1")...)
	p.signal(syscall.SIGTERM)
	p.ends(0)
	for i, end := range []os.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		p, _ = r.serve()
		inForce("in_memory>=1")
		p.err.await(t, "policy of the last run adopted")
		p.out.await(t, "in_memory>=1; an operator swapped it in an earlier run, and --policy names local")
		audited(i+1, "policy adopted")
		p.signal(end)
		p.code()
	}
	for range 2 { // the second start has nothing to report
		p, _ = r.serve("--policy", "persisted>=1 && in_memory>=1")
		inForce("persisted>=1 && in_memory>=1")
		audited(1, "policy not adopted")
		p.signal(syscall.SIGKILL)
		p.code()
	}
	p, _ = r.serve() // nor has a return to the first configuration
	inForce("persisted>=1")
	r.command(0, append(admin, "policy", "in_memory>=1")...)
	r.command(0, append(admin, "policy", "local")...)
	p.signal(syscall.SIGTERM)
	p.ends(0)
	p, _ = r.serve()
	inForce("persisted>=1")
	p.signal(syscall.SIGTERM)
	p.ends(0)
	all := r.read("audit")
	adopted, not := find(all, "what", "policy adopted", "policy", "in_memory>=1", "configured", "persisted>=1"),
		find(all, "what", "policy not adopted", "policy", "in_memory>=1", "configured", "persisted>=1 && in_memory>=1")
	if len(adopted) != 2 || len(not) != 1 {
		t.Errorf("adopted %v, not adopted %v", adopted, not)
	}
	file := filepath.Join(r.path("data"), "policy")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	p = start(t, "serve", "--data-dir", r.path("data"), "--listen-tcp", "127.0.0.1:0", "--admin-address", "")
	p.ends(exitFailure, file, "remove it to begin with the configured one")
}
