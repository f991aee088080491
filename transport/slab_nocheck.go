//go:build !invariants && !race

package transport

// slabChecked is true with -tags invariants and with -race; see slab_check.go.
const slabChecked = false

func (s *Slab) poison(Block)      {}
func (s *Slab) checkPoison(Block) {}
func fillPoison([]byte)           {}
