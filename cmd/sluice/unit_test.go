//go:build linux

package main

import (
	"os"
	"path/filepath"
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

// The unit with the configuration that is shipped opens no TCP port, because every local user could
// trade there. The lines that the configuration proposes instead open one with keys.
func TestUnitListensOnASocketOnly(t *testing.T) {
	text, err := os.ReadFile("../../deploy/sluice.yaml")
	if err != nil {
		t.Fatal(err)
	}
	closed := string(text)
	secure := strings.NewReplacer("#listen-tls:", "listen-tls:", "#tls-", "tls-", "#authorized-keys:", "authorized-keys:").
		Replace(closed)
	opened := strings.Replace(closed, "listen-tcp: \"\"\n", "", 1)
	opened = strings.NewReplacer("#listen-tcp:", "listen-tcp:", "#authorized-keys:", "authorized-keys:").Replace(opened)
	for _, v := range []struct {
		file string
		tcp  []string
		tls  []string
		keys string
	}{
		{closed, nil, nil, ""},
		{opened, []string{"0.0.0.0:9876"}, nil, "/etc/sluice/keys"},
		{secure, nil, []string{"0.0.0.0:9877"}, "/etc/sluice/keys"},
	} {
		file := filepath.Join(t.TempDir(), "sluice.yaml")
		if err := os.WriteFile(file, []byte(v.file), 0o644); err != nil {
			t.Fatal(err)
		}
		command := strings.Fields(unit(t, "ExecStart")[0])[2:]
		i := slices.Index(command, "/etc/sluice/sluice.yaml")
		if i < 1 || command[i-1] != "--config" {
			t.Fatalf("the unit does not read the configuration: %q", command)
		}
		command[i] = file
		c := config.DefaultServer()
		if _, err := c.Set().Load(command, unit(t, "Environment")); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(c.TCP, v.tcp) || !slices.Equal(c.TLSListen, v.tls) || c.Keys != v.keys ||
			!slices.Equal(c.Unix, []string{"/run/sluice/clients"}) {
			t.Errorf("tcp %q, tls %q, unix %q, keys %q", c.TCP, c.TLSListen, c.Unix, c.Keys)
		}
		if host, _, _ := strings.Cut(c.Admin, ":"); host != "127.0.0.1" {
			t.Errorf("admin address %q", c.Admin)
		}
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
}

// The configuration of a member fits the unit: it serves clients with keys and the other nodes with certificates, and
// what the unit gives it room for.
func TestUnitServesAMember(t *testing.T) {
	command := strings.Fields(unit(t, "ExecStart")[0])[2:]
	command[slices.Index(command, "/etc/sluice/sluice.yaml")] = "../../deploy/sluice-cluster.yaml"
	c := config.DefaultServer()
	if _, err := c.Set().Load(command, unit(t, "Environment")); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if !c.Member || !c.TLS() || c.DataDir != "/var/lib/"+unit(t, "StateDirectory")[0] || c.Keys == "" ||
		filepath.Dir(c.AdminSocket) != "/run/"+unit(t, "RuntimeDirectory")[0] || c.Metrics == "" {
		t.Errorf("%+v", c)
	}
}
