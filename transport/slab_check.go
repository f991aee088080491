//go:build invariants || race

package transport

import (
	"bytes"
	"fmt"
)

// slabChecked turns on poisoning: all memory that is not allocated holds poisonByte, and Alloc
// checks that. A write through a slice after its block was freed then panics, instead of corrupting
// the stream of another client.
const slabChecked = true

const poisonByte = 0xDB

// poison fills a block that is about to be freed.
func (s *Slab) poison(block Block) { fillPoison(s.Bytes(block)) }

// checkPoison panics if a block was written to while it was free.
func (s *Slab) checkPoison(block Block) {
	memory := s.Bytes(block)
	// The first byte is right and every byte equals its predecessor: one comparison at memory
	// speed.
	if memory[0] == poisonByte && bytes.Equal(memory[1:], memory[:len(memory)-1]) {
		return
	}
	for i, b := range memory {
		if b != poisonByte {
			panic(fmt.Sprintf("transport: Slab: byte %d of block %d (%d bytes) was written after "+
				"the block was freed: %#02x",
				i, block, len(memory), b))
		}
	}
}

func fillPoison(memory []byte) {
	memory[0] = poisonByte
	for done := 1; done < len(memory); done *= 2 {
		copy(memory[done:], memory[:done])
	}
}
