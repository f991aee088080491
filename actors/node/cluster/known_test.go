package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/transport/peer"
)

// What is known of another member's data outlives this one's restarts, and each start has to follow the last one
// that was met.
func TestKnownDataOfMembers(t *testing.T) {
	dir := t.TempDir()
	data := func(directory byte, starts ...uint32) peer.Data {
		return peer.Data{Directory: [16]byte{directory, 2}, Incarnation: uint64(len(starts)), Starts: starts}
	}
	for i, tt := range []struct {
		node uint8
		data peer.Data
		want string // of the error; empty for none
	}{
		{2, data(1, 11, 12, 13), ""},
		{2, data(1, 11, 12, 13), ""}, // another connection of the same process
		{2, data(7, 11, 12, 13, 14), "was made anew"},
		{31, data(9, 91), ""},
		{2, data(1, 11, 12, 13, 14), ""},
		{2, data(1, 11, 12, 13), "older copy"},
		{2, data(1, 11, 12, 13, 24), "a second time"},
		{2, data(1, 11, 12, 13, 24, 25), "older copy"}, // its next start
		{2, data(1, 11, 12, 0, 0, 0, 26), "older copy"},
		{2, peer.Data{Directory: [16]byte{1, 2}, Incarnation: 9}, "names 0 starts"},
		{2, data(1, 11, 12, 13, 14), ""},
		{2, data(1, 11, 12, 13, 14, 0, 16), ""}, // one that did not get as far as to speak
		{2, peer.Data{Directory: [16]byte{8}, Generation: 1, Incarnation: 1, Starts: []uint32{5}}, ""},
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
	file, err := os.ReadFile(filepath.Join(dir, knownFile))
	if err != nil {
		t.Fatal(err)
	}
	sealed := func(line string) []byte {
		text := fmt.Sprintf("%s\n%s\n", knownHead, line)
		return fmt.Appendf(nil, "%scrc32c %08x\n", text, checksum([]byte(text)))
	}
	for _, bad := range [][]byte{sealed("2 0 aa 5 6"), sealed("x"), sealed("300 0 " + strings.Repeat("a", 32) + " 1 1"),
		file[:len(file)-1], slices.Concat(file[:30], []byte{file[30] ^ 1}, file[31:]), nil} {
		if err := os.WriteFile(filepath.Join(dir, knownFile), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readKnown(dir); err == nil {
			t.Errorf("the file %q is taken", bad)
		}
	}
}

// Each start has a random number on disk, and keeps those before it. One that ended before that has none.
func TestStartsAreEntered(t *testing.T) {
	dir := t.TempDir()
	first, err := begin(dir, 1)
	if err != nil || len(first) != 1 || first[0] == 0 {
		t.Fatal(first, err)
	}
	fourth, err := begin(dir, 4)
	if err != nil || len(fourth) != 4 || fourth[0] != first[0] || fourth[1] != 0 || fourth[2] != 0 || fourth[3] == 0 {
		t.Fatal(fourth, err)
	}
	if _, err := begin(dir, 4); err == nil || !strings.Contains(err.Error(), "older than others") {
		t.Errorf("a journal that is older than the starts: %v", err)
	}
	path := filepath.Join(dir, startsFile)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, slices.Concat(file[:20], []byte{file[20] ^ 1}, file[21:]), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := begin(dir, 5); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a damaged file: %v", err)
	}
}

// met waits until all members have met a start of each other one, or a later one.
func (c *trio) met(start uint64) {
	c.t.Helper()
	c.until(fmt.Sprintf("start %d to be met", start), func() bool {
		for _, n := range c.nodes[1:4] {
			k, err := readKnown(n.DataDir())
			if err != nil || len(k.met) != 2 {
				return false
			}
			for _, m := range k.met {
				if m.incarnation < start {
					return false
				}
			}
		}
		return true
	})
}

// refused waits until a member is refused by others.
func (c *trio) refused(id uint8, text string, by ...uint8) {
	c.t.Helper()
	c.until(fmt.Sprintf("the refusals of node %d: %q", id, text), func() bool {
		for _, l := range c.nodes[id].Links() {
			if slices.Contains(by, l.Node) && !strings.Contains(l.Out.Error, text) {
				return false
			}
		}
		return true
	})
}

// A node on an older copy of its data is refused by those who have met a later start of the original: at the
// first start of the copy, and at each one that follows. The original is not.
func TestEachStartOfAnOlderCopyIsRefused(t *testing.T) {
	c := newTrio(t, nil)
	trader := c.trader(1)
	order(t, trader, 100)
	c.met(1)
	id := c.leader()%3 + 1
	one, other := id%3+1, (id+1)%3+1
	c.stop(id)
	original, older := c.dirs[id], filepath.Join(t.TempDir(), "older")
	if err := os.CopyFS(older, os.DirFS(original)); err != nil {
		t.Fatal(err)
	}
	c.start(id)
	order(t, trader, 101)
	c.until("the next start to be met", func() bool {
		for _, n := range []uint8{one, other} {
			k, err := readKnown(c.dirs[n])
			if err != nil || k.met[uint64(id)].incarnation != 2 {
				return false
			}
		}
		return true
	})
	c.stop(id)
	c.dirs[id] = older
	for start := uint64(2); start <= 4; start++ {
		c.start(id)
		c.refused(id, "older copy", one, other)
		if at := c.nodes[id].Log(); at.Leader != 0 || c.nodes[id].found.Incarnation != start {
			t.Errorf("start %d of the copy takes part: %+v", start, at)
		}
		c.stop(id)
	}
	for _, n := range []uint8{one, other} { // what they know outlives them
		c.stop(n)
		c.start(n)
	}
	c.start(id)
	c.refused(id, "older copy", one, other)
	c.stop(id)
	order(t, c.trader(1), 102)
	c.dirs[id] = original
	c.start(id)
	c.roles("voter 1, voter 2, voter 3")
	order(t, c.trader(1), 103)
	c.agree()
}
