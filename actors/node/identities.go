package node

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"sluice/actors/sequencer"
	"sluice/transport/listen"
)

// identities numbers the keys of clients, and knows what each may do now: events carry the number, and
// the journal has the key once. Any goroutine.
type identities struct {
	table atomic.Pointer[identityTable] // never changed, only replaced
	mu    sync.Mutex                    // guards replacing it
	most  uint32                        // largest number
}

// identityTable is the state of identities.
type identityTable struct {
	ring    *listen.Keyring // nil without keys
	numbers map[listen.Fingerprint]uint32
	clients []*listen.Identity // by number; that of a key which is not authorized may do nothing
	expires time.Time          // when the next key expires; zero: none does
}

// newIdentities goes on with the keys that the journal has, from number 1 on.
func newIdentities(keys [][8]byte, ring *listen.Keyring) *identities {
	numbers := make(map[listen.Fingerprint]uint32, len(keys))
	for i, key := range keys {
		numbers[key] = uint32(i + 1)
	}
	t := &identities{most: sequencer.MaxIdentity}
	t.table.Store(newIdentityTable(ring, numbers, time.Now()))
	return t
}

func newIdentityTable(ring *listen.Keyring, numbers map[listen.Fingerprint]uint32, now time.Time) *identityTable {
	t := &identityTable{ring: ring, numbers: numbers, clients: make([]*listen.Identity, len(numbers)+1)}
	revoked := listen.Revoked()
	t.clients[0] = revoked
	for key, number := range numbers {
		t.clients[number] = revoked
		if id := ring.Find(key); id != nil && !id.Expired(now) {
			t.clients[number] = id
		}
	}
	for _, id := range ring.All() {
		if at := id.Expires; !at.IsZero() && !id.Expired(now) && (t.expires.IsZero() || at.Before(t.expires)) {
			t.expires = at
		}
	}
	return t
}

// number returns the number of a key, 0 for no key.
func (t *identities) number(key listen.Fingerprint) uint32 {
	if key == (listen.Fingerprint{}) {
		return 0
	}
	return t.table.Load().numbers[key]
}

// client returns what the identity of a number may do now, for the sequencer.
func (t *identities) client(number uint32) *listen.Identity {
	return t.table.Load().clients[number]
}

// permits reports whether a key is authorized now, with a role or a higher one. A client without a key
// is none of this table's.
func (t *identities) permits(key listen.Fingerprint, role listen.Role) bool {
	if key == (listen.Fingerprint{}) {
		return true
	}
	id := t.table.Load().ring.Find(key)
	return id != nil && id.Role >= role && !id.Expired(time.Now())
}

// connections is how many connections a key may have; 0: no limit of its own.
func (t *identities) connections(key listen.Fingerprint) int {
	if id := t.table.Load().ring.Find(key); id != nil {
		return id.Connections
	}
	return 0
}

// enter makes sure that a key has a number. record has a new number journaled before the first event
// that carries it; only then is the number visible.
func (t *identities) enter(key listen.Fingerprint, record func(number uint32, key [8]byte) error) error {
	if key == (listen.Fingerprint{}) || t.number(key) != 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.table.Load()
	if before.numbers[key] != 0 {
		return nil
	}
	known := len(before.numbers)
	if known >= int(t.most) {
		return fmt.Errorf("node: %d keys have used this data directory, and there are no more "+
			"numbers for keys; known keys can still connect; move the application to a new data "+
			"directory", known)
	}
	number := uint32(known + 1)
	if err := record(number, key); err != nil {
		return err
	}
	numbers := maps.Clone(before.numbers)
	numbers[key] = number
	t.table.Store(newIdentityTable(before.ring, numbers, time.Now()))
	return nil
}

// use puts a keyring in force, or the same one at a later time: from now on no request is executed that
// it does not permit. It returns the one before, and the identities as they were whose keys may do less now.
func (t *identities) use(ring *listen.Keyring, now time.Time) (before *listen.Keyring, less []*listen.Identity) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.table.Load()
	fresh := newIdentityTable(ring, old.numbers, now)
	t.table.Store(fresh)
	for _, number := range old.numbers {
		if was, is := old.clients[number], fresh.clients[number]; was != is && !was.Within(is) {
			less = append(less, was)
		}
	}
	return old.ring, less
}

// expire takes notice of the keys that have expired. It returns them, and the time until the next one
// does; none if that is far away.
func (t *identities) expire(now time.Time) (expired []*listen.Identity, next time.Duration, some bool) {
	table := t.table.Load()
	if at := table.expires; !at.IsZero() && !now.Before(at) {
		_, expired = t.use(table.ring, now)
		table = t.table.Load()
	}
	return expired, table.expires.Sub(now), !table.expires.IsZero()
}

// identity returns the owner of a connection: number, role and key.
func (h *handler[R, Q]) identity(c listen.Conn) sequencer.Identity {
	return sequencer.Identity{Number: h.identities.number(c.Key), Role: uint8(c.Role), Key: c.Key}
}
