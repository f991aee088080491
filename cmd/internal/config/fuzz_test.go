package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// values returns all settings in printed form, except the name of the file.
func values(set *Set) string {
	var b strings.Builder
	for _, s := range set.Settings {
		if s.Name != "config" {
			b.WriteString(s.Name + "=" + s.Value.String() + "\n")
		}
	}
	return b.String()
}

// A file, a variable and a flag are either rejected with a usage error, with all fields unchanged,
// or the loaded values print as a file that loads to the same values.
func FuzzLoad(f *testing.F) {
	f.Add("shards: 3\n", "SLUICE_DRAIN=90s", "--policy=persisted>=1 && in_memory>=2")
	f.Add("hard-limit: 1.5MiB\nlisten-unix:\n  - /tmp/a b\n  - '@c'\n", "SLUICE_LOG_LEVEL=debug",
		"--insecure")
	f.Add("shards: &a 2\nflush-slots: *a\n", "PATH=/bin", "--authorized-keys=key: #1")
	f.Add("shards: [1, 2]\n", "SLUICE_SHARDS=", "--shards=auto")
	dir := f.TempDir()
	path, printed := filepath.Join(dir, "given"), filepath.Join(dir, "printed")
	f.Fuzz(func(t *testing.T, file, variable, arg string) {
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		set := DefaultServer().Set()
		if _, err := set.Load([]string{"--shards=7"}, nil); err != nil {
			t.Fatal(err)
		}
		before := values(set)
		rest, err := set.Load([]string{"--config=" + path, arg}, []string{variable})
		if err != nil {
			if after := values(set); after != before {
				t.Fatalf("rejected with %v, but\n%s\nbecame\n%s", err, before, after)
			}
			var usage *UsageError
			if !errors.Is(err, ErrHelp) && !errors.As(err, &usage) {
				t.Fatalf("%q %q %q: %v is not a usage error", file, variable, arg, err)
			}
			return
		}
		if len(rest) > 1 || len(rest) == 1 && rest[0] != arg {
			t.Fatalf("%q leaves the arguments %q", arg, rest)
		}
		if set.Origin("config") != "--config" {
			return // the argument named another file
		}
		var text bytes.Buffer
		if err := set.Print(&text); err != nil {
			if utf8.ValidString(values(set)) {
				t.Fatal(err)
			}
			return
		}
		if err := os.WriteFile(printed, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		again := DefaultServer().Set()
		if _, err := again.Load([]string{"--config=" + printed}, nil); err != nil {
			t.Fatalf("the printed file is rejected: %v\n%s", err, &text)
		}
		if got, want := values(again), values(set); got != want {
			t.Fatalf("printed and loaded back,\n%s\nbecame\n%s", want, got)
		}
	})
}
