package transport_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cespare/xxhash/v2"

	"sluice/transport"
)

func TestHashIsXXHash64OfTheLittleEndianBytes(t *testing.T) {
	check := func(id uint64) {
		t.Helper()
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], id)
		if got, want := transport.Hash(id), xxhash.Sum64(b[:]); got != want {
			t.Fatalf("Hash(%#x) = %#x, xxhash gives %#x", id, got, want)
		}
	}
	for bit := range 64 {
		check(1 << bit)
		check(1<<bit - 1)
		check(^uint64(0) << bit)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		check(random.Uint64())
	}
}

// chiSquareLimit is a bound that chi-square of a uniform distribution over n cells exceeds about
// once in 30,000 times: the mean n-1 plus four standard deviations. The ids are fixed, so the
// result is the same every time.
func chiSquareLimit(n int) float64 {
	mean := float64(n - 1)
	deviation := 1.0
	for deviation*deviation < 2*mean {
		deviation++
	}
	return mean + 4*deviation
}

func chiSquare(cells []int, total int) float64 {
	expected := float64(total) / float64(len(cells))
	sum := 0.0
	for _, count := range cells {
		d := float64(count) - expected
		sum += d * d / expected
	}
	return sum
}

func TestConnectionsAreSpreadEvenlyOverShards(t *testing.T) {
	const ids = 64_000
	for _, stride := range []uint64{1, 64, 1 << 32} {
		for _, k := range []int{1, 2, 3, 4, 5, 7, 16, 48, 64} {
			t.Run(fmt.Sprintf("%d shards of ids %d apart", k, stride), func(t *testing.T) {
				cells := make([]int, k)
				for i := range uint64(ids) {
					cells[transport.Shard(transport.Hash(1+i*stride), k)]++
				}
				if got, limit := chiSquare(cells, ids), chiSquareLimit(k); got > limit {
					t.Errorf("chi-square %.1f over %d shards, limit %.1f: %v", got, k, limit, cells)
				}
			})
		}
	}
}

// A shard has only the ids that belong to it. If the bits that choose a place in the shard's table
// also chose the shard, most places would stay empty and the others would be crowded.
func TestConnectionsOfAShardAreSpreadEvenlyOverItsTable(t *testing.T) {
	const places = 256
	for _, k := range []int{2, 3, 4, 64} {
		cells := make([]int, places)
		total := 0
		for id := uint64(1); total < 100*places; id++ {
			if hash := transport.Hash(id); transport.Shard(hash, k) == k-1 {
				cells[hash%places]++
				total++
			}
		}
		if got, limit := chiSquare(cells, total), chiSquareLimit(places); got > limit {
			t.Errorf("%d shards: chi-square %.1f over %d places, limit %.1f", k, got, places, limit)
		}
	}
}

func TestShardPanicsWithoutShards(t *testing.T) {
	for _, k := range []int{0, -1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Shard(hash, %d) did not panic", k)
				}
			}()
			transport.Shard(1, k)
		}()
	}
}
