package sluice_test

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"sluice"
)

func TestBuildNamesVersionAndGo(t *testing.T) {
	b := sluice.ReadBuild()
	if b.Version != sluice.Version || b.Go != runtime.Version() {
		t.Errorf("%+v", b)
	}
	if b.Commit == "" || b.Date == "" {
		t.Errorf("a commit or date that is not known is %q: %+v", sluice.Unknown, b)
	}
}

func TestBuildAsText(t *testing.T) {
	for want, b := range map[string]sluice.Build{
		"1.2.3":                      {Version: "1.2.3", Commit: sluice.Unknown},
		"1.2.3+0123456789ab":         {Version: "1.2.3", Commit: "0123456789abcdef"},
		"1.2.3+0123456789ab.changed": {Version: "1.2.3", Commit: "0123456789abcdef", Modified: true},
		"1.2.3+0123":                 {Version: "1.2.3", Commit: "0123"},
	} {
		if got := b.String(); got != want {
			t.Errorf("%+v is %q, want %q", b, got, want)
		}
	}
}

// The version has a heading in the list of changes.
func TestChangelogHasVersion(t *testing.T) {
	text, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "\n## "+sluice.Version+" ") {
		t.Errorf("CHANGELOG.md has no heading for %s", sluice.Version)
	}
}
