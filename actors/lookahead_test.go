package actors

import "testing"

// Connections come and go while slots wait: what is kept follows those that wait.
func TestConnCountsForgetConnectionsThatAreGone(t *testing.T) {
	var c connCounts
	const waiting, ever = 2000, 1_000_000
	for id := uint64(1); id <= ever; id++ {
		c.add(id, 1)
		if id > waiting {
			c.add(id-waiting, -1)
		}
	}
	if n := len(c.entries); n > 8*waiting {
		t.Errorf("%d entries after %d connections, of which %d have slots that wait", n, ever, waiting)
	}
	for id := uint64(ever - waiting + 1); id <= ever; id++ {
		if n := c.get(id); n != 1 {
			t.Fatalf("connection %d has %d slots that wait, want 1", id, n)
		}
	}
	if n := c.get(1); n != 0 {
		t.Errorf("a connection that is gone has %d slots that wait", n)
	}
}
