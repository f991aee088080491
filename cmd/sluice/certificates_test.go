package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sluice/transport/peer"
)

// The commands of docs/cluster.md make certificates that the nodes accept of one another.
func TestDocumentedCertificatesAreAccepted(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skipf("openssl is not installed: %v", err)
	}
	page, err := os.ReadFile("../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## Certificates of the nodes")
	_, script, _ := strings.Cut(section, "```sh\n")
	script, _, _ = strings.Cut(script, "```")
	if !strings.HasPrefix(script, "openssl req -x509") {
		t.Fatalf("the page has no commands:\n%s", script)
	}
	dir := t.TempDir()
	c := exec.Command("sh", "-e", "-c", script)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	check := func(node, certificate int) error {
		file := func(format string) string { return filepath.Join(dir, fmt.Sprintf(format, certificate)) }
		tls, err := peer.TLS(file("node-%d.crt"), file("node-%d.key"), filepath.Join(dir, "nodes-ca.crt"))
		if err != nil {
			t.Fatal(err)
		}
		config := peer.Config{Cluster: [16]byte{1}, Node: uint8(node), Incarnation: 1, Listen: "192.0.2.1:9870",
			Receive: func(peer.Sender, peer.Lane, []byte) {}, TLS: tls}
		return config.Check()
	}
	for node := 1; node <= 3; node++ {
		if err := check(node, node); err != nil {
			t.Errorf("node %d: %v", node, err)
		}
	}
	if err := check(1, 2); err == nil || !strings.Contains(err.Error(), `needs the DNS name "node-1"`) {
		t.Errorf("node 1 with the certificate of node 2: %v", err)
	}
}
