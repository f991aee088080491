package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/transport/peer"
)

// What is known of another member's data outlives this one's restarts, and its starts only rise.
func TestKnownDataOfMembers(t *testing.T) {
	dir := t.TempDir()
	first := peer.Data{Directory: [16]byte{1, 2}, Incarnation: 5, Start: 1 << 60}
	second := peer.Data{Directory: first.Directory, Incarnation: 6, Start: 3}
	other := peer.Data{Directory: [16]byte{9}, Incarnation: 1, Start: 4}
	for i, tt := range []struct {
		node uint8
		data peer.Data
		want string // of the error; empty for none
	}{
		{2, first, ""},
		{2, first, ""}, // another connection of the same process
		{2, peer.Data{Directory: [16]byte{7}, Incarnation: 9, Start: 1}, "was made anew"},
		{31, other, ""},
		{2, second, ""},
		{2, first, "older copy"},
		{2, peer.Data{Directory: first.Directory, Incarnation: 6, Start: 8}, "a second time"},
		{2, second, ""},
	} {
		k, err := readKnown(dir)
		if err != nil {
			t.Fatal(err)
		}
		err = k.check(tt.node, tt.data)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%d: %v, want %q", i, err, tt.want)
		}
	}
	for _, bad := range []string{"2 aa 5 6\n", "x\n", "300 " + strings.Repeat("a", 32) + " 1 1\n"} {
		if err := os.WriteFile(filepath.Join(dir, knownFile), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readKnown(dir); err == nil {
			t.Errorf("the line %q is taken", bad)
		}
	}
}
