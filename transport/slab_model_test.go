package transport

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// slabModel checks what a user of a slab relies on: each block holds what was written to it.
type slabModel struct {
	slab   *Slab
	blocks []Block
	marks  []uint64
	sizes  []int
	next   uint64
	inUse  int64
}

// alloc allocates a block, checks the result, and fills the block with its own mark.
func (m *slabModel) alloc(t testing.TB, size int) {
	t.Helper()
	block, ok := m.slab.Alloc(size)
	if !ok {
		return
	}
	b := m.slab.Bytes(block)
	if len(b) < size || (len(b) >= 2*size && len(b) > BlockMin) {
		t.Fatalf("Alloc(%d) gave %d bytes", size, len(b))
	}
	m.next++
	for at := 0; at < len(b); at += BlockMin {
		binary.LittleEndian.PutUint64(b[at:], m.next)
		binary.LittleEndian.PutUint64(b[at+BlockMin-8:], m.next)
	}
	m.blocks = append(m.blocks, block)
	m.marks = append(m.marks, m.next)
	m.sizes = append(m.sizes, len(b))
	m.inUse += int64(len(b))
}

// free checks that the i-th block was not overwritten, and frees it.
func (m *slabModel) free(t testing.TB, i int) {
	t.Helper()
	b := m.slab.Bytes(m.blocks[i])
	if len(b) != m.sizes[i] {
		t.Fatalf("block %d has %d bytes, had %d", m.blocks[i], len(b), m.sizes[i])
	}
	for at := 0; at < len(b); at += BlockMin {
		first, last := binary.LittleEndian.Uint64(b[at:]), binary.LittleEndian.Uint64(b[at+BlockMin-8:])
		if first != m.marks[i] || last != m.marks[i] {
			t.Fatalf("block %d with mark %d holds %d and %d at %d: blocks overlap", m.blocks[i],
				m.marks[i], first, last, at)
		}
	}
	m.slab.Free(m.blocks[i])
	m.inUse -= int64(m.sizes[i])
	end := len(m.blocks) - 1
	m.blocks[i], m.marks[i], m.sizes[i] = m.blocks[end], m.marks[end], m.sizes[end]
	m.blocks, m.marks, m.sizes = m.blocks[:end], m.marks[:end], m.sizes[:end]
}

// FuzzSlab runs a script of two-byte operations: allocate sizes of all classes, free any block,
// trim. After each operation the counters must be right. At the end everything is freed, and every
// segment must be one block.
func FuzzSlab(f *testing.F) {
	f.Add([]byte{0, 0, 1, 10, 4, 0, 4, 0, 2, 30})
	f.Add([]byte{3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 4, 0, 7, 0, 3, 255})
	f.Add(bytes.Repeat([]byte{0, 1, 0, 1, 4, 0}, 60))
	f.Add(bytes.Repeat([]byte{0, 1}, 80))
	f.Fuzz(func(t *testing.T, script []byte) {
		const segmentSize = 1 << 13
		s := newSlab(t, segmentSize, 3*segmentSize)
		m := &slabModel{slab: s}
		for at := 0; at+1 < len(script); at += 2 {
			n := int(script[at+1])
			switch script[at] % 8 {
			case 0, 1, 2, 3:
				m.alloc(t, 1+n<<(script[at]%4*2)%segmentSize)
			case 4, 5, 6:
				if len(m.blocks) > 0 {
					m.free(t, n%len(m.blocks))
				}
			case 7:
				s.Trim()
			}
			if s.InUse() != m.inUse || s.Held() > 3*segmentSize {
				t.Fatalf("InUse %d, want %d; Held %d", s.InUse(), m.inUse, s.Held())
			}
		}
		checkSlab(t, s)
		for len(m.blocks) > 0 {
			m.free(t, len(m.blocks)-1)
		}
		for range 3 {
			if _, ok := s.Alloc(segmentSize); !ok {
				t.Fatal("Alloc of a whole segment failed after everything was freed")
			}
		}
		checkSlab(t, s)
	})
}

func TestSlabAgainstTheModel(t *testing.T) {
	for seed := range uint64(10) {
		random := rand.New(rand.NewPCG(seed, 7))
		s := newSlab(t, 1<<15, 8<<15)
		m := &slabModel{slab: s}
		for step := range 3000 {
			// The ratio of allocations to frees varies, so the slab fills up and drains several
			// times.
			if full := step / 300 % 2; random.IntN(10) < 7-4*full {
				m.alloc(t, 1+random.IntN(1<<(1+random.IntN(15))))
			} else if len(m.blocks) > 0 {
				m.free(t, random.IntN(len(m.blocks)))
			}
			if step%500 == 0 {
				s.Trim()
			}
			if step%50 == 0 {
				checkSlab(t, s)
			}
			if s.InUse() != m.inUse {
				t.Fatalf("seed %d, step %d: InUse %d, want %d", seed, step, s.InUse(), m.inUse)
			}
		}
		for len(m.blocks) > 0 {
			m.free(t, 0)
		}
		checkSlab(t, s)
	}
}
