//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"sluice"
	"sluice/actors/node/cluster"
	"sluice/cmd/internal/config"
)

// composed is a compose file, as far as the tests need it.
type composed struct {
	Services map[string]struct {
		Image      string
		Entrypoint []string
		Volumes    []string
		After      map[string]struct{ Condition string } `yaml:"depends_on"`
	}
	Volumes map[string]any
}

// The services of the compose file make each node's directory once and serve on it: as this program understands them,
// with the addresses that the membership has, and on volumes of their own.
func TestComposeFileRunsThreeNodes(t *testing.T) {
	text, err := os.ReadFile("../../deploy/cluster.compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file composed
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	volumes := t.TempDir()

	var first *cluster.Membership
	for n := uint8(1); n <= 3; n++ {
		initial, server := file.Services[fmt.Sprintf("init-%d", n)], file.Services[fmt.Sprintf("node-%d", n)]
		data := fmt.Sprintf("data-%d", n)
		if server.After[fmt.Sprintf("init-%d", n)].Condition != "service_completed_successfully" ||
			!slices.Equal(initial.Volumes, []string{data + ":/data"}) ||
			!slices.Contains(server.Volumes, data+":/data") ||
			!strings.HasSuffix(server.Image, "/sluice:"+sluice.Version) || initial.Image != server.Image {
			t.Errorf("node %d: %+v, %+v", n, initial, server)
		}
		if _, is := file.Volumes[data]; !is {
			t.Errorf("no volume %s", data)
		}
		dir := filepath.Join(volumes, fmt.Sprint(n))
		words := slices.Clone(initial.Entrypoint[1:])
		words[slices.Index(words, "/data/node")] = dir
		for range 2 {
			if out, problems, code := local(words...); code != exitOK {
				t.Fatalf("node %d: exit code %d: %s%s", n, code, out, problems)
			}
		}
		m, err := cluster.ReadMembership(dir)
		if err != nil || m.Node != n || len(m.Members) != 3 || first != nil && m.Cluster != first.Cluster {
			t.Fatalf("%+v, %v", m, err)
		}
		first = m
		c := config.DefaultServer()
		if _, err := c.Set().Load(server.Entrypoint[2:], nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(); err != nil || !c.Member || !slices.Equal(c.TCP, []string{m.Self().Client}) ||
			c.DataDir != "/data/node" || server.Entrypoint[1] != "serve" {
			t.Errorf("node %d: %v, %+v", n, err, c)
		}
	}
}
