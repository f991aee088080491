package demo

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/cmd/internal/fleet"
)

func TestClusterKeepsEveryAcknowledgedOrder(t *testing.T) {
	var out bytes.Buffer
	dir := t.TempDir()
	err := Run(t.Context(), Config{Program: sluice, Cluster: true, For: 3 * time.Second, Clients: 16, Dir: dir,
		Keep: true, Out: &out})
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{"16 clients", "the leader, is killed with -9", "failover", "longest gap", "return",
		"must be in 2 of 3 journals", "queries", "nothing is lost"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing:\n%s", want, &out)
		}
	}
	for _, kept := range []string{"node1/journal", "node3.log", "histories/client16.jsonl"} {
		if _, err := os.Stat(filepath.Join(dir, kept)); err != nil {
			t.Errorf("not kept: %v", err)
		}
	}
}

func TestClusterNodeThatDoesNotStartEndsTheRun(t *testing.T) {
	var out bytes.Buffer
	err := Run(t.Context(), Config{Program: script(t, "exit 3"), Cluster: true, For: time.Second, Clients: 4,
		Dir: t.TempDir(), Out: &out})
	if err == nil || !strings.Contains(err.Error(), "ended before it was ready") || !strings.Contains(err.Error(), "log") {
		t.Errorf("%v\n%s", err, &out)
	}
}

// A client of a fleet goes to the node that leads, and waits while there is none.
func TestClientsFindTheLeader(t *testing.T) {
	f, err := fleet.New(fleet.Options{Program: sluice, Dir: t.TempDir(), Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Kill()
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	leader, err := f.Leader(t.Context())
	if err != nil || leader.Number != 1 {
		t.Fatalf("leader %v, %v", leader, err)
	}
	if err := f.Drain(drainTime); err != nil {
		t.Fatal(err)
	}
	if leader.Leads(t.Context()) {
		t.Error("a node that has ended leads")
	}
}
