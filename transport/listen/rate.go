package listen

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"time"
)

// Validate reports why a rate is invalid. The zero Rate is valid.
func (r Rate) Validate() error {
	if r == (Rate{}) {
		return nil
	}
	if math.IsNaN(r.PerSecond) || r.PerSecond < 0.001 || r.PerSecond > 1e9 {
		return fmt.Errorf("%v per second: want 0.001..1e9, or a zero Rate for no limit", r.PerSecond)
	}
	if r.Burst < 1 || r.Burst > 1<<30 {
		return errors.New("burst must be at least 1 and at most 2^30")
	}
	return nil
}

// bucket is a Rate in nanoseconds. The state of a connection under it is one number: the time at
// which its bucket would be full again. So a bucket needs no refilling.
type bucket struct {
	interval int64 // ns per token; 0: no limit
	depth    int64 // ns to fill an empty bucket
}

// limit is a rate in force.
type limit struct {
	rate Rate // as configured
	bucket
}

func (r Rate) bucket() bucket {
	if r == (Rate{}) {
		return bucket{}
	}
	interval := max(1, int64(float64(time.Second)/r.PerSecond))
	return bucket{interval: interval, depth: interval * min(int64(r.Burst), math.MaxInt64/4/interval)}
}

// take takes one token at time now and reports whether one was left. *full is the state.
func (b bucket) take(full *int64, now int64) bool {
	*full = min(*full, now+b.depth) // under an earlier, slower rate it may be later
	next := max(*full, now) + b.interval
	if next-now > b.depth {
		return false
	}
	*full = next
	return true
}

// addressLimiter limits connections per address in bounded memory. All acceptors share it.
type addressLimiter struct {
	limit    int                // entries
	underway *addressHandshakes // set by New

	mu     sync.Mutex // guards the fields below
	bucket bucket
	full   map[netip.Addr]int64 // address -> state of its bucket
}

func newAddressLimiter(r Rate, limit int) *addressLimiter {
	return &addressLimiter{bucket: r.bucket(), limit: limit, full: map[netip.Addr]int64{}}
}

// allow takes a token of the address. If the table is full of addresses whose buckets are not full,
// one of them is dropped. So the limit may be exceeded a little, but memory stays bounded.
func (l *addressLimiter) allow(address netip.Addr, now int64) bool {
	if !address.IsValid() {
		return true
	}
	address = network(address)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket.interval == 0 {
		return true
	}
	state, known := l.full[address]
	if !known && len(l.full) >= l.limit {
		l.makeRoom(now)
	}
	ok := l.bucket.take(&state, now)
	l.full[address] = state
	return ok
}

// set replaces the rate. If it differs, all addresses start with a full bucket.
func (l *addressLimiter) set(r Rate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := r.bucket(); b != l.bucket {
		l.bucket = b
		clear(l.full)
	}
}

// addressHandshakes counts the handshakes of each address, so that one address cannot hold all places. It
// has an entry for each address with a handshake under way. Any goroutine.
type addressHandshakes struct {
	most int // of an address

	mu sync.Mutex
	of map[netip.Addr]int
}

// leastHandshakes is the least limit for an address.
const leastHandshakes = 64

func newAddressHandshakes(places int) *addressHandshakes {
	return &addressHandshakes{most: max(places/2, leastHandshakes), of: map[netip.Addr]int{}}
}

// begin counts a handshake, and reports whether it is within the limit. done follows in either case.
func (h *addressHandshakes) begin(address netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	address = network(address)
	h.of[address]++
	return h.of[address] <= h.most
}

// done ends the handshake of a TCP connection.
func (h *addressHandshakes) done(addr [16]byte, uid uint32) {
	if uid != NoUID {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	address := network(netip.AddrFrom16(addr))
	if h.of[address]--; h.of[address] <= 0 {
		delete(h.of, address)
	}
}

// makeRoom examines a few entries in the random order of the map, so a flood of addresses costs
// little per address.
func (l *addressLimiter) makeRoom(now int64) {
	const look = 32
	looked := 0
	for address, full := range l.full {
		looked++
		if full <= now || looked == look || looked == len(l.full) && len(l.full) >= l.limit {
			delete(l.full, address)
		}
		if looked == look {
			return
		}
	}
}

// network returns the unit of the limit: an IPv4 address, or a /64 for IPv6, since a client usually
// owns a whole /64.
func network(address netip.Addr) netip.Addr {
	if address = address.Unmap(); address.Is4() {
		return address
	}
	prefix, err := address.Prefix(64)
	if err != nil { // impossible for a valid IPv6 address
		return address
	}
	return prefix.Addr()
}
