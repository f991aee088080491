package shard

import "testing"

func TestStampsSaturate(t *testing.T) {
	for _, c := range []struct {
		from, to int64
		want     uint32
	}{{10, 15, 5}, {15, 10, 0}, {0, 1 << 40, 1<<32 - 1}} {
		if got := Since(c.from, c.to); got != c.want {
			t.Errorf("since(%d, %d) = %d, want %d", c.from, c.to, got, c.want)
		}
	}
}
