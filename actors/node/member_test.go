package node_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/actors/node"
)

// What is made for a single node's directory is refused for that of a member of a cluster, with a remedy.
func TestMembersDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cluster"), []byte("sluice-cluster 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "new")
	_, backup := node.Backup(context.Background(), dir, target)
	_, restore := node.Restore(context.Background(), dir, target)
	for want, err := range map[string]error{
		"must never go back to a copy":                           backup,
		"name a directory that a backup made":                    restore,
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
