package transport

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func BenchmarkHash(b *testing.B) {
	b.ReportAllocs()
	sum, id := uint64(0), uint64(0)
	for b.Loop() {
		id++
		sum ^= Hash(id)
	}
	if sum == 1 {
		b.Log(sum)
	}
}

// BenchmarkIndexGet looks up present ids in random order, with the hash computed each time, as the
// egress does.
func BenchmarkIndexGet(b *testing.B) {
	for _, n := range []int{256, 10_000, 100_000} {
		order := rand.New(rand.NewPCG(1, 1)).Perm(n)
		b.Run(fmt.Sprintf("index/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			var x Index
			for id := range uint64(n) {
				x.Put(Hash(id), id, uint32(id))
			}
			at, sum := 0, uint32(0)
			for b.Loop() {
				id := uint64(order[at])
				slot, _ := x.Get(Hash(id), id)
				sum += slot
				if at++; at == n {
					at = 0
				}
			}
			_ = sum
		})
		b.Run(fmt.Sprintf("map/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			m := map[uint64]uint32{}
			for id := range uint64(n) {
				m[id] = uint32(id)
			}
			at, sum := 0, uint32(0)
			for b.Loop() {
				sum += m[uint64(order[at])]
				if at++; at == n {
					at = 0
				}
			}
			_ = sum
		})
	}
}

// BenchmarkIndexChurn deletes the oldest of 10,000 ids and adds a new one.
func BenchmarkIndexChurn(b *testing.B) {
	const n = 10_000
	b.Run("index", func(b *testing.B) {
		b.ReportAllocs()
		var x Index
		for id := range uint64(n) {
			x.Put(Hash(id), id, uint32(id))
		}
		id := uint64(n)
		for b.Loop() {
			x.Delete(Hash(id-n), id-n)
			x.Put(Hash(id), id, uint32(id))
			id++
		}
	})
	b.Run("map", func(b *testing.B) {
		b.ReportAllocs()
		m := map[uint64]uint32{}
		for id := range uint64(n) {
			m[id] = uint32(id)
		}
		id := uint64(n)
		for b.Loop() {
			delete(m, id-n)
			m[id] = uint32(id)
			id++
		}
	})
}

func BenchmarkSlabAllocFree(b *testing.B) {
	for _, size := range []int{256, 4096, 1 << 18} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.ReportAllocs()
			s := newSlab(b, 0, 64<<20)
			for b.Loop() {
				block, _ := s.Alloc(size)
				s.Free(block)
			}
		})
	}
}

// BenchmarkSlabFlush is a busy step: 256 connections allocate a block each, and all of them drain.
func BenchmarkSlabFlush(b *testing.B) {
	for _, size := range []int{256, 2048} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.ReportAllocs()
			s := newSlab(b, 0, 64<<20)
			blocks := make([]Block, 256)
			for b.Loop() {
				for i := range blocks {
					blocks[i], _ = s.Alloc(size)
				}
				for _, block := range blocks {
					s.Free(block)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/block")
		})
	}
}

// BenchmarkSlabMixed keeps 1000 blocks of random sizes and replaces a random one each time, with
// splits and merges.
func BenchmarkSlabMixed(b *testing.B) {
	b.ReportAllocs()
	random := rand.New(rand.NewPCG(1, 1))
	picks, sizes := make([]int, 4096), make([]int, 4096)
	for i := range picks {
		picks[i], sizes[i] = random.IntN(1000), 1+random.IntN(1<<(1+random.IntN(16)))
	}
	s := newSlab(b, 0, 256<<20)
	blocks := make([]Block, 1000)
	for i := range blocks {
		blocks[i], _ = s.Alloc(sizes[i])
	}
	at := 0
	for b.Loop() {
		i := picks[at]
		s.Free(blocks[i])
		blocks[i], _ = s.Alloc(sizes[at])
		at = (at + 1) & 4095
	}
}

// BenchmarkSlabGrow fills a buffer with 64-byte frames up to 256 KiB and drains it: once doubling
// from the smallest block, as the buffer of a connection does, and once in a block of the full
// size.
func BenchmarkSlabGrow(b *testing.B) {
	const frames = 256 << 10 / 64
	var frame [64]byte
	for _, first := range []int{BlockMin, 256 << 10} {
		b.Run(fmt.Sprintf("from %d", first), func(b *testing.B) {
			b.ReportAllocs()
			s := newSlab(b, 0, 64<<20)
			for b.Loop() {
				block, _ := s.Alloc(first)
				buffer := s.Bytes(block)
				used := 0
				for range frames {
					if used+len(frame) > len(buffer) {
						larger, _ := s.Alloc(2 * len(buffer))
						copy(s.Bytes(larger), buffer[:used])
						s.Free(block)
						block, buffer = larger, s.Bytes(larger)
					}
					used += copy(buffer[used:], frame[:])
				}
				s.Free(block)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/frames, "ns/frame")
		})
	}
}
