package shard

import (
	"testing"
	"time"

	"sluice/transport"
)

// The moments are spread evenly over the window, among the connections of one shard too.
func TestJitterFillsTheWindow(t *testing.T) {
	const window, parts, shards, n = int64(time.Second), 10, 8, 80_000
	var count [shards][parts]int
	for id := uint64(1); id <= n; id++ {
		h := transport.Hash(id)
		j := Jitter(h, window)
		if j < 0 || j >= window {
			t.Fatalf("connection %d: %d", id, j)
		}
		count[transport.Shard(h, shards)][j*parts/window]++
	}
	for s := range count {
		for p, got := range count[s] {
			if want := n / shards / parts; got < want*8/10 || got > want*12/10 {
				t.Errorf("shard %d: %d of about %d in part %d of the window", s, got, want, p)
			}
		}
	}
	if Jitter(^uint64(0), 0) != 0 || Jitter(^uint64(0), 1) != 0 {
		t.Error("an empty window has moments")
	}
}
