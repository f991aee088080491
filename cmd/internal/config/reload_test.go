package config

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestReloadAppliesLimitsAndNamesSettingsThatNeedARestart(t *testing.T) {
	path := write(t, "hard-limit: 2MiB\nshards: 2\n")
	args := []string{"--config", path}
	c := DefaultServer()
	set := c.Set()
	if _, err := set.Load(args, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("hard-limit: 4MiB\nshards: 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := c.Reload(set, args, nil)
	if err != nil || r.Limits.HardBytes != 4<<20 || strings.Join(r.Fixed, " ") != "shards" ||
		c.Limits.HardBytes != 2<<20 || r.Set.Origin("shards") != path+":2" {
		t.Errorf("%d, %v, %v; the old configuration has %d", r.Limits.HardBytes, r.Fixed, err,
			c.Limits.HardBytes)
	}
	if err := os.WriteFile(path, []byte("hard-limit: 1KiB\nshards: 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reload(set, args, nil); err == nil {
		t.Error("a hard limit below the soft limit is accepted")
	}
}

// A file that is read while it is written puts nothing back to its default.
func TestReloadRejectsFilesThatAreNotComplete(t *testing.T) {
	const full = "# limits\nsoft-limit: 128KiB\nno-progress: 10s\nsoft-for: 2s\n"
	for _, v := range []struct{ name, was, now, args, want string }{
		{"the same", full, full, "", ""},
		{"changed", full, "soft-limit: 64KiB\nno-progress: 3s\n", "", ""},
		{"a default is left out", full, "soft-limit: 128KiB\nno-progress: 10s\n", "", ""},
		{"empty", full, "", "", "soft-limit: 256KiB; no-progress: 5s"},
		{"comments only", full, "# limits\n", "", "To return to defaults, write them"},
		{"cut after a line", full, full[:28], "", "no-progress: 5s"},
		{"cut in a line", full, full[:len(full)-1], "", "no line end"},
		{"cut in a value", full, "no-progress: 10s\nsoft-limit: 12", "", "no line end"},
		{"written without a line end", "soft-limit: 64KiB", "soft-limit: 32KiB", "", ""},
		{"a flag has taken its place", full, "no-progress: 10s\n", "--soft-limit=128KiB", ""},
		{"written out", full, "soft-limit: 256KiB\nno-progress: 5s\n", "", ""},
		{"it needs a restart", "shards: 2\n", "", "", ""},
	} {
		t.Run(v.name, func(t *testing.T) {
			path := write(t, v.was)
			args := append([]string{"--config", path}, strings.Fields(v.args)...)
			c := DefaultServer()
			set := c.Set()
			if _, err := set.Load(args, nil); err != nil {
				t.Fatal(err)
			}
			if v.args != "" { // another source sets it now
				set.origins["soft-limit"] = path + ":2"
			}
			if err := os.WriteFile(path, []byte(v.now), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := c.Reload(set, args, nil)
			var usage *UsageError
			if (err != nil) != (v.want != "") || err != nil && (!errors.As(err, &usage) ||
				!strings.Contains(err.Error(), v.want) || !strings.Contains(err.Error(), path)) {
				t.Errorf("%v; want %q", err, v.want)
			}
		})
	}
}
