package node

import (
	"net/netip"
	"sync"
	"time"

	"sluice/actors"
	"sluice/transport"
	"sluice/transport/listen"
)

// Client is the peer of a connection.
type Client struct {
	ID       uint64
	Remote   netip.AddrPort // invalid for a unix-domain socket
	UID      uint32         // listen.NoUID on TCP
	Role     listen.Role
	Key      listen.Fingerprint
	Name     string // of the key now; "" if it has none
	Listener string
}

// Closed is a connection that ended, with the figures of that moment.
type Closed struct {
	Client Client // only ID is set if the notice of the end came too late
	Reason transport.Reason
	At     time.Time
	Notice actors.ConnNotice
}

// closedKept is the number of ended connections that are remembered.
const closedKept = 1024

// clients is the connection table: the open connections and the last ones that ended. A connection
// is removed when both its shard and its reader have released it, in whichever order. Any
// goroutine.
type clients struct {
	mu     sync.Mutex // guards all below
	live   map[uint64]entry
	most   int                        // entries; above, those whose end no shard has reported are removed
	open   map[listen.Fingerprint]int // connections of each key, from the handshake until both have released them
	closed [closedKept]Closed
	ended  uint64 // connections that ended; the last of them are in closed
}

// entry is a Client in few bytes and without pointers, since there is one for each idle connection.
type entry struct {
	addr     [16]byte
	key      listen.Fingerprint
	uid      uint32
	port     uint16
	class    uint8
	role     listen.Role
	unread   bool // its reader has released it
	finished bool // its shard has reported the end
}

func newClients(most int) *clients {
	return &clients{live: map[uint64]entry{}, most: most, open: map[listen.Fingerprint]int{}}
}

// take takes a place for a connection of a key, and reports whether there was one; most 0 is no limit.
// What takes no part in add gives it back.
func (t *clients) take(key listen.Fingerprint, most int) bool {
	if key == (listen.Fingerprint{}) {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if most > 0 && t.open[key] >= most {
		return false
	}
	t.open[key]++
	return true
}

// give gives a place back.
func (t *clients) give(key listen.Fingerprint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.freed(key)
}

// freed is give for a caller that holds mu.
func (t *clients) freed(key listen.Fingerprint) {
	if key == (listen.Fingerprint{}) {
		return
	}
	if t.open[key]--; t.open[key] <= 0 {
		delete(t.open, key)
	}
}

// add inserts a connection.
func (t *clients) add(c listen.Conn, class uint8) {
	e := entry{key: c.Key, uid: c.UID, role: c.Role, class: class, port: c.Remote.Port()}
	if c.Remote.IsValid() {
		e.addr = c.Remote.Addr().As16()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.live) >= t.most {
		for id, old := range t.live {
			if old.unread {
				delete(t.live, id)
				t.freed(old.key)
			}
		}
	}
	t.live[c.ID] = e
}

// drop removes a connection that no shard has taken.
func (t *clients) drop(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.live, id)
}

// unread records that the reader of a connection has released it.
func (t *clients) unread(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.live[id]; ok {
		e.unread = true
		t.keep(id, e)
	}
}

// finish records that a shard ended a connection, and returns its client.
func (t *clients) finish(n actors.ConnNotice, at time.Time, name func(class uint8) string) Client {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := Closed{Client: Client{ID: n.Conn, UID: listen.NoUID}, Reason: n.Reason, At: at, Notice: n}
	if e, ok := t.live[n.Conn]; ok {
		c.Client = e.client(n.Conn, name)
		e.finished = true
		t.keep(n.Conn, e)
	}
	t.closed[t.ended%closedKept] = c
	t.ended++
	return c.Client
}

func (t *clients) keep(id uint64, e entry) {
	if e.unread && e.finished {
		delete(t.live, id)
		t.freed(e.key)
		return
	}
	t.live[id] = e
}

// which returns the connections that have not ended and whose key and role match.
func (t *clients) which(match func(key listen.Fingerprint, role listen.Role) bool) (conns []uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, e := range t.live {
		if !e.finished && match(e.key, e.role) {
			conns = append(conns, id)
		}
	}
	return conns
}

// byKey counts the connections that have not ended, by key.
func (t *clients) byKey() map[listen.Fingerprint]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	open := map[listen.Fingerprint]int{}
	for _, e := range t.live {
		if !e.finished && e.key != (listen.Fingerprint{}) {
			open[e.key]++
		}
	}
	return open
}

// find returns the client of a connection that has not ended.
func (t *clients) find(id uint64, name func(class uint8) string) (Client, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.live[id]
	return e.client(id, name), ok && !e.finished
}

// last returns the connections that ended last, the latest first, and how many ended in all.
func (t *clients) last(n int) (some []Closed, ended uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := t.ended; i > 0 && t.ended-i < min(uint64(max(n, 0)), closedKept); i-- {
		some = append(some, t.closed[(i-1)%closedKept])
	}
	return some, t.ended
}

func (e *entry) client(id uint64, name func(class uint8) string) Client {
	c := Client{ID: id, UID: e.uid, Role: e.role, Key: e.key, Listener: name(e.class)}
	if e.uid == listen.NoUID {
		c.Remote = netip.AddrPortFrom(netip.AddrFrom16(e.addr).Unmap(), e.port)
	}
	return c
}
