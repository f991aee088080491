package listen

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"time"
)

// Validate reports why a rate cannot be in force. The zero Rate is valid.
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

// bucket is a Rate in nanoseconds. A connection's state under it is one number, the time at which its bucket would be full
// again: that is all a token bucket is, and it needs no refilling.
type bucket struct {
	interval int64 // ns one token is worth; 0: no limit
	depth    int64 // ns a full bucket is worth
}

func (r Rate) bucket() bucket {
	if r == (Rate{}) {
		return bucket{}
	}
	interval := max(1, int64(float64(time.Second)/r.PerSecond))
	return bucket{interval: interval, depth: interval * min(int64(r.Burst), math.MaxInt64/4/interval)}
}

// take takes one token at time now and reports whether there was one. *full is the state.
func (b bucket) take(full *int64, now int64) bool {
	*full = min(*full, now+b.depth) // under an earlier, slower rate it may owe more
	next := max(*full, now) + b.interval
	if next-now > b.depth {
		return false
	}
	*full = next
	return true
}

// addressLimiter limits connections per address in bounded memory. All acceptors share one.
type addressLimiter struct {
	limit int // entries

	mu     sync.Mutex // guards what follows
	bucket bucket
	full   map[netip.Addr]int64 // address -> state of its bucket
}

func newAddressLimiter(r Rate, limit int) *addressLimiter {
	return &addressLimiter{bucket: r.bucket(), limit: limit, full: map[netip.Addr]int64{}}
}

// allow takes a token of the address. When the table is full of addresses that still owe time, one of them is forgotten:
// the limit then is a little generous, the memory never.
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

// set replaces the rate. Addresses that still owe time under the old one start afresh.
func (l *addressLimiter) set(r Rate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := r.bucket(); b != l.bucket {
		l.bucket = b
		clear(l.full)
	}
}

// makeRoom looks at a few entries in the map's random order, so that a spray of addresses costs little per address.
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

// network is what counts as one address: an IPv6 client usually owns a whole /64.
func network(address netip.Addr) netip.Addr {
	if address = address.Unmap(); address.Is4() {
		return address
	}
	prefix, err := address.Prefix(64)
	if err != nil { // impossible for a valid IPv6 address; limiting the single address is still right
		return address
	}
	return prefix.Addr()
}
