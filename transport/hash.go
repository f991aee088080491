package transport

import (
	"fmt"
	"math/bits"
)

// The primes of xxHash64, from its specification (https://github.com/Cyan4973/xxHash,
// doc/xxhash_spec.md).
const (
	prime1 uint64 = 0x9E3779B185EBCA87
	prime2 uint64 = 0xC2B2AE3D27D4EB4F
	prime3 uint64 = 0x165667B19E3779F9
	prime4 uint64 = 0x85EBCA77C2B2AE63
	prime5 uint64 = 0x27D4EB2F165667C5
)

// Hash is xxHash64, seed 0, of the 8 little-endian bytes of a connection id. It is the general
// function written out for an input of exactly eight bytes, so the compiler can inline it. It is a
// bijection: two ids never share a hash. Its high half chooses the shard (see Shard), its low half
// the place in the shard's table (see Index), so the two choices are independent.
func Hash(id uint64) uint64 {
	h := bits.RotateLeft64(id*prime2, 31) * prime1
	h = bits.RotateLeft64(h^(prime5+8), 27)*prime1 + prime4
	h = (h ^ h>>33) * prime2
	h = (h ^ h>>29) * prime3
	return h ^ h>>32
}

// Shard maps a hash to one of k shards, 0..k-1, evenly for every k and not only for powers of two.
// It uses the high 32 bits only. It panics unless 1 <= k < 1<<31.
func Shard(hash uint64, k int) int {
	if k < 1 || k > 1<<31-1 {
		badShards(k)
	}
	return int((hash >> 32) * uint64(k) >> 32)
}

// badShards is a function of its own so that Shard can be inlined.
func badShards(k int) { panic(fmt.Sprintf("transport: Shard: %d shards; want 1 or more", k)) }
