package audit

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/cmd/internal/history"
)

// Who votes is what the log says, not who was a member when the cluster began.
func TestVotersAreThoseOfTheLog(t *testing.T) {
	dir := t.TempDir()
	s := newScene(t)
	s.cut(7)
	l := s.lineOf(0, 3) // answered as an event that only node 1 has
	l.Outcome, l.Event, l.Answered = history.Answered, 8, l.Sent+10
	s.write(t, dir)
	for _, c := range []struct {
		voters         []int
		voting, needed int
		fault          string
	}{
		{[]int{1, 2, 3}, 3, 2, "which 1 of 3 journals have; it must be in 2"},
		{[]int{1, 2, 3, 4, 5}, 3, 1, ""}, // two others may have it
		{[]int{2, 3}, 2, 2, "was answered as event 8, and the log ends at event 7"},
		{[]int{1, 2}, 2, 2, "which 1 of 2 journals have; it must be in 2"},
		{[]int{1}, 1, 1, ""},
	} {
		text := "sluice-members 1\nentry 9\n"
		for _, n := range c.voters {
			text += fmt.Sprintf("member %d 0 1 127.0.0.1:%d,127.0.0.1:%d\n", n, 7000+n, 8000+n)
		}
		text += fmt.Sprintf("crc32c %08x\n", crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))
		if err := os.WriteFile(filepath.Join(dir, "node2", "members"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := auditedIn(t, dir, 1, 2, 3)
		lost := slices.ContainsFunc(r.Faults, func(f Fault) bool { return f.Kind == Loss })
		if r.Voting != c.voting || r.Needed != c.needed || lost != (c.fault != "") ||
			!strings.Contains(fmt.Sprint(r.Faults), c.fault) {
			t.Errorf("voters %v:\n%s", c.voters, r)
		}
	}
}
