package listen

import "net/netip"

// none means no slot, or no leftover.
const none = int32(-1)

type state uint8

const (
	free        state = iota
	handshaking       // owned by the listener; deadline is since + HandshakeTimeout
	established       // owned by the handler; deadline is since + IdleTimeout
)

// record is one connection. It holds no pointers, so a million of them cost the garbage collector
// nothing. It is all that an idle connection occupies here.
type record struct {
	id        uint64 // 0 until established
	requests  uint64 // Handler.Request calls that returned nil
	since     int64  // handshaking: time of acceptance; established: time of the last bytes received
	allowance int64  // bucket state of the request rate
	beats     int64  // bucket state of heartbeats
	addr      [16]byte
	gen       uint32 // incremented when the slot is freed; stale events carry an older one
	fd        int32
	prev      int32 // neighbours in the list of its state, ordered by since; next also links free slots
	next      int32
	leftover  int32 // index of what was read and not handled, or none
	share     int32 // that of its key; 0 without one
	uid       uint32
	port      uint16
	heartbeat uint16 // ms, wanted by the client; 0: none wanted
	endpoint  uint8
	role      Role
	state     state
	tls       bool // has an entry in readerTLS.conns
	paused    bool // in the list of paused connections; its deadline does not run
}

// remote is the peer address; invalid for a unix-domain socket.
func (r *record) remote() netip.AddrPort {
	if r.uid != NoUID {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom16(r.addr).Unmap(), r.port)
}

// chunk is the number of records allocated together. Records never move, so a pointer to one is
// valid while it is in use.
const chunk = 512

// table holds the records of one reader. Only its goroutine uses it.
type table struct {
	chunks []*[chunk]record
	free   int32 // first free slot
	used   int
}

func newTable() table { return table{free: none} }

func (t *table) at(slot int32) *record { return &t.chunks[slot/chunk][slot%chunk] }

// find returns the record of an epoll event; nil if the connection is gone.
func (t *table) find(slot int32, gen uint32) *record {
	if slot < 0 || int(slot) >= len(t.chunks)*chunk {
		return nil
	}
	if r := t.at(slot); r.gen == gen && r.state != free {
		return r
	}
	return nil
}

// add returns a slot whose record is zero except for its generation.
func (t *table) add() int32 {
	if t.free == none {
		base := int32(len(t.chunks) * chunk)
		t.chunks = append(t.chunks, new([chunk]record))
		for i := int32(chunk - 1); i >= 0; i-- {
			t.at(base + i).next = t.free
			t.free = base + i
		}
	}
	slot := t.free
	r := t.at(slot)
	t.free = r.next
	t.used++
	*r = record{gen: r.gen, prev: none, next: none, leftover: none, uid: NoUID}
	return slot
}

// remove frees a slot that is in no list.
func (t *table) remove(slot int32) {
	r := t.at(slot)
	*r = record{gen: r.gen + 1, next: t.free}
	t.free = slot
	t.used--
}

// list is a list of slots ordered by deadline. All members have the same timeout, so appending
// keeps the order, and the head is due first.
type list struct{ head, tail int32 }

func newList() list { return list{none, none} }

func (l *list) push(t *table, slot int32) {
	r := t.at(slot)
	r.prev, r.next = l.tail, none
	if l.tail == none {
		l.head = slot
	} else {
		t.at(l.tail).next = slot
	}
	l.tail = slot
}

func (l *list) remove(t *table, slot int32) {
	r := t.at(slot)
	if r.prev == none {
		l.head = r.next
	} else {
		t.at(r.prev).next = r.next
	}
	if r.next == none {
		l.tail = r.prev
	} else {
		t.at(r.next).prev = r.prev
	}
	r.prev, r.next = none, none
}

// leftovers stores the beginnings of incomplete frames, each shorter than a frame, and what was read
// from a connection before it was paused: at most a read buffer, over TLS at most readerTLS.plain.
type leftovers struct {
	bufs [][]byte
	free []int32
}

// spareLeftovers is the number of unused buffers that keep their memory.
const spareLeftovers = 64

// keep stores a copy of data, which must not be empty, and returns its index. data may be the end of what was
// dropped last.
func (l *leftovers) keep(data []byte) int32 {
	if n := len(l.free); n > 0 {
		i := l.free[n-1]
		l.free = l.free[:n-1]
		l.bufs[i] = append(l.bufs[i][:0], data...)
		return i
	}
	l.bufs = append(l.bufs, append([]byte(nil), data...))
	return int32(len(l.bufs) - 1)
}

func (l *leftovers) get(i int32) []byte {
	if i == none {
		return nil
	}
	return l.bufs[i]
}

func (l *leftovers) drop(i int32) {
	if i == none {
		return
	}
	if len(l.free) >= spareLeftovers {
		l.bufs[i] = nil
	}
	l.free = append(l.free, i)
}
