package node_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/actors/node"
	"sluice/transport/listen"
)

// What is for a single node's directory is refused for that of a member of a cluster, with a remedy.
func TestMembersDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cluster"), []byte("sluice-cluster 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "new")
	_, restore := node.Restore(context.Background(), dir, target)
	_, open := node.Open(context.Background(), node.Config[result, result]{DataDir: dir, Application: newLedger,
		Encoder: ledgerEncoder{}, Log: slog.New(slog.DiscardHandler), Listen: listen.Config{Endpoints: []listen.Endpoint{
			{Network: "unix", Address: filepath.Join(t.TempDir(), "s"), Open: true}}}})
	for want, err := range map[string]error{
		"open it with cluster.Open":                              open,
		"sluice cluster restore makes a new cluster":             restore,
		"start a program that applies the event, on all members": node.Skip(dir, 1),
	} {
		if err == nil || !strings.Contains(err.Error(), dir+" is the data directory of a member of a cluster, and ") ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := os.Lstat(target); !os.IsNotExist(err) {
		t.Errorf("something was made: %v", err)
	}
}
