package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/durability/journal"
)

// A member that finds no room for one of its files says how much it needs, and goes on as before when there is room.
func TestFullDiskOfAMemberIsNamed(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("sluice-test", dir, "tmpfs", 0, "mode=0700,size=64k"); err != nil {
		t.Skipf("needs the right to mount a file system: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	first, err := begin(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 64<<10), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	_, err = begin(dir, 2)
	var space *journal.SpaceError
	if !errors.As(err, &space) || space.Free != 0 || space.Needed == 0 || !strings.Contains(err.Error(), startsFile) {
		t.Errorf("%v, %+v", err, space)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	all, err := begin(dir, 3)
	if err != nil || len(all) != 3 || all[0] != first[0] || all[1] != 0 || all[2] == 0 {
		t.Errorf("%v after %v, %v", all, first, err)
	}
}
