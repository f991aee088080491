package actors

import "testing"

// Connections come and go while slots wait: the table depends on those with waiting slots alone.
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
		t.Errorf("%d entries after %d connections, of which %d have waiting slots", n, ever,
			waiting)
	}
	for id := uint64(ever - waiting + 1); id <= ever; id++ {
		if n := c.get(id); n != 1 {
			t.Fatalf("connection %d has %d waiting slots, want 1", id, n)
		}
	}
	if n := c.get(1); n != 0 {
		t.Errorf("a connection that is gone has %d waiting slots", n)
	}
}
