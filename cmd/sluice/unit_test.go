//go:build linux

package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sluice/cmd/internal/config"
)

// unit returns the values of a key in the shipped systemd unit.
func unit(t *testing.T, key string) (values []string) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/sluice.service")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, key+"="); found {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

// After a usage error the unit does not restart the server; after a crash of the Go runtime it does.
func TestUnitRestartsAfterCrashesOnly(t *testing.T) {
	if got := unit(t, "RestartPreventExitStatus"); !slices.Equal(got,
		[]string{strconv.Itoa(exitUsage)}) {
		t.Errorf("not restarted after %q, want %d", got, exitUsage)
	}
	if got := unit(t, "Restart"); !slices.Equal(got, []string{"on-failure"}) {
		t.Errorf("Restart=%q", got)
	}
}

// The unit opens no TCP port for clients, because every local user could trade there. Its drop-in
// opens one with keys.
func TestUnitListensOnASocketOnly(t *testing.T) {
	command := strings.Fields(unit(t, "ExecStart")[0])
	arguments := slices.DeleteFunc(command[2:], func(a string) bool { // the file may be empty
		return a == "--config" || a == "/etc/sluice/sluice.yaml"
	})
	for _, v := range []struct {
		environment []string
		tcp         []string
		keys        string
	}{
		{unit(t, "Environment"), nil, ""},
		{append(unit(t, "Environment"), strings.Fields(unit(t, "#   Environment")[0])...),
			[]string{config.DefaultAddress}, "/etc/sluice/keys"},
	} {
		c := config.DefaultServer()
		if _, err := c.Set().Load(arguments, lastOf(v.environment)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(c.TCP, v.tcp) || c.Keys != v.keys || len(c.Unix) != 1 {
			t.Errorf("%q: tcp %q, unix %q, keys %q", v.environment, c.TCP, c.Unix, c.Keys)
		}
	}
}

// lastOf keeps the last value of each variable, as a service manager does.
func lastOf(environment []string) (kept []string) {
	for i, v := range environment {
		name, _, _ := strings.Cut(v, "=")
		later := slices.ContainsFunc(environment[i+1:],
			func(other string) bool { return strings.HasPrefix(other, name+"=") })
		if !later {
			kept = append(kept, v)
		}
	}
	return kept
}
