package node

import (
	"net/netip"
	"sync"
	"time"

	"sluice/actors"
	"sluice/transport"
	"sluice/transport/listen"
)

// Client says who is at the other end of a connection.
type Client struct {
	ID       uint64
	Remote   netip.AddrPort // invalid for a unix-domain socket
	UID      uint32         // listen.NoUID on TCP
	Role     listen.Role
	Key      listen.Fingerprint
	Listener string
}

// Closed is a connection that ended, with the figures of that moment.
type Closed struct {
	Client Client // only ID is set if the pipeline told of the end too late
	Reason transport.Reason
	At     time.Time
	Notice actors.Notice
}

// closedKept is the number of ended connections that are remembered.
const closedKept = 1024

// roster knows who is connected and who was. A connection is taken off when both its shard and its reader have let go of it,
// in whichever order. Any goroutine.
type roster struct {
	mu     sync.Mutex // guards all below
	live   map[uint64]entry
	most   int // entries; above, those whose shard never told of the end are forgotten
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
	unread   bool // the reader let go
	finished bool // the shard told of the end
}

func newRoster(most int) *roster { return &roster{live: map[uint64]entry{}, most: most} }

// add notes a connection.
func (r *roster) add(c listen.Conn, class uint8) {
	e := entry{key: c.Key, uid: c.UID, role: c.Role, class: class, port: c.Remote.Port()}
	if c.Remote.IsValid() {
		e.addr = c.Remote.Addr().As16()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.live) >= r.most {
		for id, old := range r.live {
			if old.unread {
				delete(r.live, id)
			}
		}
	}
	r.live[c.ID] = e
}

// drop takes back an add whose connection nobody took.
func (r *roster) drop(id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.live, id)
}

// unread notes that the reader let go of a connection.
func (r *roster) unread(id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.live[id]; ok {
		e.unread = true
		r.keep(id, e)
	}
}

// finish notes that a shard ended a connection.
func (r *roster) finish(n actors.Notice, at time.Time, name func(class uint8) string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := Closed{Client: Client{ID: n.Conn, UID: listen.NoUID}, Reason: n.Reason, At: at, Notice: n}
	if e, ok := r.live[n.Conn]; ok {
		c.Client = e.client(n.Conn, name)
		e.finished = true
		r.keep(n.Conn, e)
	}
	r.closed[r.ended%closedKept] = c
	r.ended++
}

func (r *roster) keep(id uint64, e entry) {
	if e.unread && e.finished {
		delete(r.live, id)
		return
	}
	r.live[id] = e
}

// who finds a connection that has not ended.
func (r *roster) who(id uint64, name func(class uint8) string) (Client, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.live[id]
	return e.client(id, name), ok && !e.finished
}

// last returns the connections that ended last, the latest first, and how many ended in all.
func (r *roster) last(n int) (some []Closed, ended uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := r.ended; i > 0 && r.ended-i < min(uint64(max(n, 0)), closedKept); i-- {
		some = append(some, r.closed[(i-1)%closedKept])
	}
	return some, r.ended
}

func (e *entry) client(id uint64, name func(class uint8) string) Client {
	c := Client{ID: id, UID: e.uid, Role: e.role, Key: e.key, Listener: name(e.class)}
	if e.uid == listen.NoUID {
		c.Remote = netip.AddrPortFrom(netip.AddrFrom16(e.addr).Unmap(), e.port)
	}
	return c
}
