package listen

import "net/netip"

// none is the slot, or the leftover, that does not exist.
const none = int32(-1)

type state uint8

const (
	free        state = iota
	handshaking       // the listener's; deadline is since + HandshakeTimeout
	established       // the handler's; deadline is since + IdleTimeout
)

// record is one connection. It holds no pointers, so a million of them cost the garbage collector nothing, and it is all an
// idle connection takes here.
type record struct {
	id        uint64 // 0 until established
	requests  uint64 // Handler.Request calls that returned nil
	since     int64  // handshaking: when it was accepted, never moved; established: when bytes last came
	allowance int64  // state of the request rate's bucket
	addr      [16]byte
	key       Fingerprint
	gen       uint32 // raised when the slot is freed; stale events carry an older one
	fd        int32
	prev      int32 // neighbours in the list of its state, in order of since; next also links free slots
	next      int32
	leftover  int32 // of an incomplete frame, or none
	uid       uint32
	port      uint16
	endpoint  uint8
	role      Role
	state     state
}

// remote is invalid for a unix-domain socket.
func (r *record) remote() netip.AddrPort {
	if r.uid != NoUID {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom16(r.addr).Unmap(), r.port)
}

// chunk is how many records are allocated together. Records never move, so a pointer to one stays good while it is in use.
const chunk = 512

// table holds the records of one reader and belongs to its goroutine.
type table struct {
	chunks []*[chunk]record
	free   int32 // first free slot
	used   int
}

func newTable() table { return table{free: none} }

func (t *table) at(slot int32) *record { return &t.chunks[slot/chunk][slot%chunk] }

// find is the record an epoll event belongs to, nil when the connection is gone.
func (t *table) find(slot int32, gen uint32) *record {
	if slot < 0 || int(slot) >= len(t.chunks)*chunk {
		return nil
	}
	if r := t.at(slot); r.gen == gen && r.state != free {
		return r
	}
	return nil
}

// add returns a slot whose record is empty but for its generation.
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

// list is a list of slots in order of their deadline. All members have the same time to live, so appending keeps the order
// and only the head can be due.
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

// leftovers keeps the beginnings of frames whose end has not come yet. Only connections in the middle of a frame hold one,
// and it is never longer than a frame.
type leftovers struct {
	bufs [][]byte
	free []int32
}

// spareLeftovers is how many unused buffers keep their memory.
const spareLeftovers = 64

// keep stores a copy of data, which is not empty.
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
