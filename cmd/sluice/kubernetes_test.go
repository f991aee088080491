//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"sluice"
	"sluice/cmd/internal/config"
)

// manifest is a part of a Kubernetes object, as far as the tests need it.
type manifest struct {
	Kind string
	Spec struct {
		Replicas int
		Template struct {
			Metadata struct{ Annotations map[string]string }
			Spec     struct {
				InitContainers []container `yaml:"initContainers"`
				Containers     []container
			}
		}
	}
}

type container struct {
	Name, Image   string
	Command, Args []string
	Ports         []struct {
		Name          string
		ContainerPort int `yaml:"containerPort"`
	}
	Resources struct{ Limits struct{ Memory string } }

	StartupProbe   podProbe `yaml:"startupProbe"`
	LivenessProbe  podProbe `yaml:"livenessProbe"`
	ReadinessProbe podProbe `yaml:"readinessProbe"`
}

type podProbe struct{ Exec struct{ Command []string } }

// readManifest returns the StatefulSet of a file.
func readManifest(t *testing.T, name string) (m manifest) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for d := yaml.NewDecoder(bytes.NewReader(text)); m.Kind != "StatefulSet"; {
		var lower manifest
		if err := d.Decode(&lower); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		m = lower
	}
	return m
}

// entryPoint is the command line of the image, without the program.
func entryPoint(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^ENTRYPOINT \["/sluice", "serve", (.*)\]$`).FindSubmatch(text)
	if line == nil {
		t.Fatal("the Containerfile has no entry point that serves")
	}
	return strings.Split(strings.Trim(strings.ReplaceAll(string(line[1]), `", "`, `","`), `"`), `","`)
}

// The containers have valid flags, budgets that fit their memory, a port that shows metrics to
// Prometheus, and probes that the program knows.
func TestKubernetesManifests(t *testing.T) {
	for _, name := range []string{"kubernetes.yaml", "kubernetes-cluster.yaml"} {
		m := readManifest(t, name)
		c := m.Spec.Template.Spec.Containers[0]
		if !strings.HasSuffix(c.Image, "/sluice:"+sluice.Version) {
			t.Errorf("%s: image %s is not of version %s", name, c.Image, sluice.Version)
		}
		cfg := config.DefaultServer()
		if _, err := cfg.Set().Load(slices.Concat(entryPoint(t), c.Args), nil); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var limit uint64
		if err := config.Size(&limit, 1<<20, 1<<50).Set(c.Resources.Limits.Memory + "B"); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s := &service{cfg: cfg}
		if all := s.shardBudget(int64(limit)) * int64(s.shards()); cfg.Shards == 0 || uint64(all) > limit/budgetShare {
			t.Errorf("%s: send buffers of %d shards have %d bytes of %d", name, cfg.Shards, all, limit)
		}
		_, port, _ := strings.Cut(cfg.Metrics, ":")
		ports := make(map[string]int)
		for _, p := range c.Ports {
			ports[p.Name] = p.ContainerPort
		}
		if a := m.Spec.Template.Metadata.Annotations; a["prometheus.io/port"] != port || port != "9465" ||
			ports["metrics"] != 9465 ||
			a["prometheus.io/scrape"] != "true" || ports["clients"] != 9876 {
			t.Errorf("%s: metrics at %q, ports %v, annotations %v", name, cfg.Metrics, ports, a)
		}
		for _, p := range []podProbe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
			admin := newAdminConfig()
			words, err := admin.set().Load(p.Exec.Command[2:], nil)
			if err != nil || admin.Socket != cfg.AdminSocket || len(words) != 1 {
				t.Errorf("%s: probe %q: %v", name, p.Exec.Command, err)
			} else if _, err := admin.command(words); err != nil {
				t.Errorf("%s: probe %q: %v", name, p.Exec.Command, err)
			}
		}
	}
}

// The init container of each of the three pods makes the directory of its node, and changes nothing when
// it runs again. With the volume of another pod it fails.
func TestKubernetesClusterMakesItsMembersOnce(t *testing.T) {
	m := readManifest(t, "kubernetes-cluster.yaml")
	initial := m.Spec.Template.Spec.InitContainers[0]
	volumes := t.TempDir()
	run := func(node, volume string) (problems string, code int) {
		command := slices.Concat(initial.Command, initial.Args)
		for i, word := range command {
			command[i] = strings.NewReplacer("$(NODE)", node, "$(CLUSTER)", strings.Repeat("ab", 16),
				"/data/", filepath.Join(volumes, volume)+"/").Replace(word)
		}
		_, problems, code = local(command[1:]...)
		return problems, code
	}
	if m.Spec.Replicas != 3 {
		t.Errorf("%d replicas", m.Spec.Replicas)
	}
	for _, node := range []string{"1", "2", "3"} {
		if err := os.MkdirAll(filepath.Join(volumes, node, "lost+found"), 0o755); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if problems, code := run(node, node); code != exitOK {
				t.Fatalf("node %s: exit code %d: %s", node, code, problems)
			}
		}
	}
	if problems, code := run("1", "2"); code != exitFailure || !strings.Contains(problems, "mount its own volume") {
		t.Errorf("the volume of another node: exit code %d: %s", code, problems)
	}
}
