package node

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"sluice/actors/sequencer"
	"sluice/transport/listen"
)

// identities numbers the keys of clients: events carry the number, and the journal has the key once.
// Any goroutine.
type identities struct {
	table atomic.Pointer[map[listen.Fingerprint]uint32] // never changed, only replaced
	mu    sync.Mutex                                    // guards replacing it
	most  uint32                                        // largest number
}

// newIdentities goes on with the keys that the journal has, from number 1 on.
func newIdentities(keys [][8]byte) *identities {
	table := make(map[listen.Fingerprint]uint32, len(keys))
	for i, key := range keys {
		table[key] = uint32(i + 1)
	}
	t := &identities{most: sequencer.MaxIdentity}
	t.table.Store(&table)
	return t
}

// number returns the number of a key, 0 for no key.
func (t *identities) number(key listen.Fingerprint) uint32 {
	if key == (listen.Fingerprint{}) {
		return 0
	}
	return (*t.table.Load())[key]
}

// enter makes sure that a key has a number. record has a new number journaled before the first event
// that carries it; only then is the number visible.
func (t *identities) enter(key listen.Fingerprint, record func(number uint32, key [8]byte) error) error {
	if key == (listen.Fingerprint{}) || t.number(key) != 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	before := *t.table.Load()
	if before[key] != 0 {
		return nil
	}
	if len(before) >= int(t.most) {
		return fmt.Errorf("node: %d keys have used this data directory, and there are no more "+
			"numbers for keys; known keys can still connect; move the application to a new data "+
			"directory", len(before))
	}
	number := uint32(len(before) + 1)
	if err := record(number, key); err != nil {
		return err
	}
	table := maps.Clone(before)
	table[key] = number
	t.table.Store(&table)
	return nil
}

// identity returns the owner of a connection: number, role and key.
func (h *handler[R, Q]) identity(c listen.Conn) sequencer.Identity {
	return sequencer.Identity{Number: h.identities.number(c.Key), Role: uint8(c.Role), Key: c.Key}
}
