package main

import (
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"sluice/actors/node/cluster"
)

// The commands that the first node prints make the other nodes, of the same cluster.
func TestClusterInitPrintsTheOtherNodes(t *testing.T) {
	t.Chdir(t.TempDir())
	const dir = "it's data"
	out, problems, code := local("cluster", "init", "--data-dir", dir, "--node", "2",
		"--member", "3=[::1]:9873,[::1]:9883", "--member", "1=127.0.0.1:9871,127.0.0.1:9881",
		"--member", "2=127.0.0.1:9872,127.0.0.1:9882")
	if code != 0 || problems != "" {
		t.Fatalf("exit code %d: %s", code, problems)
	}
	first, err := cluster.ReadMembership(dir)
	if err != nil || first.Node != 2 || len(first.Members) != 3 {
		t.Fatalf("%+v, %v", first, err)
	}
	commands := regexp.MustCompile(`(?m)^sluice cluster init .*$`).FindAllString(out, -1)
	if len(commands) != 2 || strings.Count(out, "\nsluice serve --cluster") != 3 {
		t.Fatalf("printed:\n%s", out)
	}
	for i, command := range commands {
		words, err := exec.Command("sh", "-c", strings.Replace(command, "sluice", `printf '%s\n'`, 1)).Output()
		if err != nil {
			t.Skipf("no shell: %v", err)
		}
		args := strings.Split(strings.TrimSpace(string(words)), "\n")
		if _, problems, code := local(args...); code != exitFailure || !strings.Contains(problems, "of a member already") {
			t.Fatalf("%q in a used directory: exit code %d, %s", args, code, problems)
		}
		other := filepath.Join(t.TempDir(), "data")
		args[3] = other
		if out, problems, code := local(args...); code != 0 || strings.Contains(out, "cluster init") {
			t.Fatalf("%q: exit code %d, %s%s", args, code, out, problems)
		}
		m, err := cluster.ReadMembership(other)
		if err != nil || m.Node != []uint8{1, 3}[i] || m.Cluster != first.Cluster ||
			!reflect.DeepEqual(m.Members, first.Members) {
			t.Fatalf("%q made %+v, %v", args, m, err)
		}
	}
	if again, _, _ := local("cluster", "init", "--data-dir", t.TempDir(), "--node", "1", "--member", "1=h:1,h:2"); strings.Contains(
		again, first.Cluster.String()) {
		t.Error("two clusters have one identity")
	}
}
