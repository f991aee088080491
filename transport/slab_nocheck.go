//go:build !invariants && !race

package transport

// slabChecked is true under -tags invariants and under -race; see slab_check.go.
const slabChecked = false

func (s *Slab) poison(Block)      {}
func (s *Slab) checkPoison(Block) {}
func fillPoison([]byte)           {}
