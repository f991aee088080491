package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The exit code tells a fault from none, as text and as JSON.
func TestAuditTellsFaultsFromNone(t *testing.T) {
	for name, want := range map[string]string{"intact": "", "loss": "loss", "double": "double", "contradiction": "contradiction"} {
		kept := filepath.Join("..", "internal", "audit", "testdata")
		nodes := filepath.Join(kept, "intact")
		if name == "double" {
			nodes = filepath.Join(kept, name)
		}
		dirs := strings.Join([]string{filepath.Join(nodes, "node1"), filepath.Join(nodes, "node2"),
			filepath.Join(nodes, "node3")}, ",")
		args := []string{"audit", "--data-dir", dirs, filepath.Join(kept, name, "histories")}
		out, problems, code := local(args...)
		if want == "" {
			if code != exitOK || problems != "" || !strings.Contains(out, "result     nothing is lost, ") {
				t.Errorf("%s: exit code %d, %s%s", name, code, out, problems)
			}
		} else if code != exitFailure || !strings.Contains(out, "\n"+want+" ") ||
			problems != "sluice: audit: 1 fault, see above\n" {
			t.Errorf("%s: exit code %d, %s%s", name, code, out, problems)
		}
		out, _, again := local(append([]string{"audit", "--json"}, args[1:]...)...)
		var result struct {
			Found  int
			Faults []struct{ Kind string }
		}
		if err := json.Unmarshal([]byte(out), &result); err != nil || again != code || result.Found < 8 ||
			len(result.Faults) != min(1, len(want)) || want != "" && result.Faults[0].Kind != want {
			t.Errorf("%s as JSON: exit code %d, %v, %s", name, again, err, out)
		}
	}
	for want, args := range map[string][]string{
		"name the histories of clients": {"audit"},
		"unknown flag":                  {"audit", "--nonsense", "1", "x"},
	} {
		if _, problems, code := local(args...); code != exitUsage || !strings.Contains(problems, want) {
			t.Errorf("%v: exit code %d, %s", args, code, problems)
		}
	}
	if out, problems, code := local("audit", "--json", "--data-dir", t.TempDir(), "nowhere"); code != exitFailure ||
		!strings.Contains(problems, "no such file") || !strings.Contains(out, `{"error":`) {
		t.Errorf("exit code %d, %s%s", code, out, problems)
	}
}

// The journal of a member is verified with its membership.
func TestVerifyOfAMembersDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "internal", "audit", "testdata", "intact", "node1"))); err != nil {
		t.Fatal(err)
	}
	out, problems, code := local("journal", "--data-dir", dir, "verify")
	if code != exitOK || !strings.Contains(out, "its last entry is 11, of term 2; events up to 7 are known to be committed\n") {
		t.Fatalf("exit code %d, %s%s", code, out, problems)
	}
	out, _, code = local("journal", "--data-dir", dir, "list")
	if code != exitOK || strings.Count(out, " (not known to be committed)\n") != 2 {
		t.Errorf("exit code %d, %s", code, out)
	}
	for want, args := range map[string][]string{
		"no event is left out on one node only": {"journal", "--data-dir", dir, "skip", "3"},
		"copy it with sluice cluster backup":    {"backup", "--data-dir", dir, filepath.Join(t.TempDir(), "b")},
	} {
		if _, problems, code := local(args...); code != exitFailure || !strings.Contains(problems, want) {
			t.Errorf("%v: exit code %d, %s", args, code, problems)
		}
	}
	path := filepath.Join(dir, "cluster")
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append(text[:len(text)-2], 'x', '\n'), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, problems, code := local("journal", "--data-dir", dir, "verify"); code != exitFailure || !strings.Contains(problems, "damaged") {
		t.Errorf("a damaged membership file: exit code %d, %s", code, problems)
	}
}
