package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sluice/cmd/internal/manual"
)

// completions returns the output of `sluice completion`.
func completions(t *testing.T, shell string) string {
	t.Helper()
	out, problems, code := local("completion", shell)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, problems)
	}
	return out
}

// Every command explains itself, and its flags are in the completions of all shells and in its page.
func TestCompletionsAndPagesHaveEveryFlag(t *testing.T) {
	scripts := make(map[string]string)
	for _, shell := range manual.Shells() {
		scripts[shell] = completions(t, shell)
	}
	dir := t.TempDir()
	if _, problems, code := local("man", dir); code != exitOK {
		t.Fatal(problems)
	}
	flag := regexp.MustCompile(`(?m)^  --([a-z0-9-]+)`)
	for _, c := range described() {
		page, err := os.ReadFile(filepath.Join(dir, "sluice-"+strings.ReplaceAll(c.Name, " ", "-")+".1"))
		if err != nil || !strings.HasPrefix(c.Help, "usage: sluice "+c.Name) {
			t.Errorf("sluice %s: %v; --help prints %q", c.Name, err, c.Help)
		}
		for _, m := range flag.FindAllStringSubmatch(c.Help, -1) {
			for shell, script := range scripts {
				if !strings.Contains(script, map[bool]string{true: "-l ", false: "--"}[shell == "fish"]+m[1]) {
					t.Errorf("%s: --%s of sluice %s is missing", shell, m[1], c.Name)
				}
			}
			if !strings.Contains(string(page), `\fB\-\-`+strings.ReplaceAll(m[1], "-", `\-`)+`\fR`) {
				t.Errorf("the page of sluice %s lacks --%s", c.Name, m[1])
			}
		}
	}
}

func TestBashCompletesWordsFlagsAndValues(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash here")
	}
	for line, want := range map[string]string{
		"sluice jo":                         "journal",
		"sluice admin con":                  "connections",
		"sluice serve --io u":               "uring",
		"sluice serve --max-":               "--max-connections --max-topics --max-subscriptions",
		"sluice cluster tr":                 "transfer",
		"sluice cluster status --wa":        "--watch",
		"sluice serve --config /etc/os-rel": "/etc/os-release",
	} {
		words := strings.Fields(line)
		script := completions(t, "bash") + "\nCOMP_WORDS=(" + strings.Join(words, " ") +
			")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_sluice\necho ${COMPREPLY[@]}"
		out, err := exec.Command(bash, "--norc", "-c", script).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s: %q, want %q (%v)", line, got, want, err)
		}
	}
}

// The shells accept the scripts. bash is above.
func TestOtherShellsParseTheirCompletions(t *testing.T) {
	for _, shell := range []string{"zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			program, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("no %s here (Debian: apt-get install %s)", shell, shell)
			}
			file := filepath.Join(t.TempDir(), "sluice")
			if err := os.WriteFile(file, []byte(completions(t, shell)), 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(program, "-n", file).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
