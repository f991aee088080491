package transport

import "fmt"

// kind says what a request is; zero is a free slot.
type kind uint8

const (
	kindNone kind = iota
	kindSend
	kindPoll
	kindCancel
)

// request is one request that was queued and whose completion was not reaped yet.
type request struct {
	user   uint64
	buffer *byte  // keeps a send's memory alive: the kernel holds its address as a number the collector cannot see
	length int32  // bytes of a send
	fd     int32  // of a poll
	gen    uint32 // distinguishes successive requests in one slot
	next   uint32 // free list, slot+1
	kind   kind

	watched bool // a poll that the epoll descriptor of the portable engine knows
}

// pending is the table of requests in flight. A request is known to the kernel by a key, its slot and the slot's
// generation, so a completion can never be taken for one of a later request. It belongs to the ring's owner.
type pending struct {
	slots  []request
	free   uint32            // head of the free list, slot+1; 0 = none
	live   int               // slots in use
	byUser map[uint64]uint32 // slot of each pending poll
	byFD   map[int32]uint32  // the same, by descriptor
}

func newPending(entries int) pending {
	return pending{
		slots:  make([]request, 0, 2*entries),
		byUser: make(map[uint64]uint32, entries),
		byFD:   make(map[int32]uint32, entries),
	}
}

// take claims a slot and returns it with the key of the request.
func (p *pending) take(k kind, user uint64) (*request, uint64) {
	slot := p.free
	if slot == 0 {
		p.slots = append(p.slots, request{})
		slot = uint32(len(p.slots))
	} else {
		p.free = p.slots[slot-1].next
	}
	r := &p.slots[slot-1]
	r.kind, r.user = k, user
	p.live++
	return r, uint64(r.gen)<<32 | uint64(slot-1)
}

// takePoll claims a slot for a poll and makes it findable.
func (p *pending) takePoll(fd int32, user uint64) (*request, uint64) {
	if slot, ok := p.byUser[user]; ok {
		panic(fmt.Sprintf("transport: Poll(fd %d, user %#x): a poll of fd %d with that user value is pending", fd, user, p.slots[slot].fd))
	}
	if slot, ok := p.byFD[fd]; ok {
		panic(fmt.Sprintf("transport: Poll(fd %d, user %#x): a poll of that descriptor is pending, user %#x", fd, user, p.slots[slot].user))
	}
	r, key := p.take(kindPoll, user)
	r.fd = fd
	p.byUser[user] = uint32(key)
	p.byFD[fd] = uint32(key)
	return r, key
}

// find returns the request of a key, or nil if it is no longer pending.
func (p *pending) find(key uint64) *request {
	slot := uint32(key)
	if int(slot) >= len(p.slots) {
		return nil
	}
	r := &p.slots[slot]
	if r.kind == kindNone || r.gen != uint32(key>>32) {
		return nil
	}
	return r
}

// pollOf returns the key of the pending poll with that user value.
func (p *pending) pollOf(user uint64) (uint64, bool) {
	slot, ok := p.byUser[user]
	if !ok {
		return 0, false
	}
	return uint64(p.slots[slot].gen)<<32 | uint64(slot), true
}

// pollOn returns the key of the pending poll of a descriptor.
func (p *pending) pollOn(fd int32) (uint64, bool) {
	slot, ok := p.byFD[fd]
	if !ok {
		return 0, false
	}
	return uint64(p.slots[slot].gen)<<32 | uint64(slot), true
}

// detach forgets which descriptor a pending poll is for, because the descriptor is about to be closed and reused.
func (p *pending) detach(key uint64) {
	r := &p.slots[uint32(key)]
	delete(p.byFD, r.fd)
	r.fd = -1
}

// release frees the slot of a request.
func (p *pending) release(key uint64) {
	slot := uint32(key)
	r := &p.slots[slot]
	if r.kind == kindPoll {
		delete(p.byUser, r.user)
		if r.fd >= 0 {
			delete(p.byFD, r.fd)
		}
	}
	*r = request{gen: r.gen + 1, next: p.free}
	p.free = slot + 1
	p.live--
}

// fifo is a queue of completions that an engine holds until the owner reaps them.
type fifo struct {
	items []Completion
	head  int
}

func (f *fifo) push(c Completion) { f.items = append(f.items, c) }

func (f *fifo) pop() (Completion, bool) {
	if f.head == len(f.items) {
		return Completion{}, false
	}
	c := f.items[f.head]
	f.head++
	if f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	}
	return c, true
}

func (f *fifo) len() int { return len(f.items) - f.head }
