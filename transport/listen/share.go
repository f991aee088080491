package listen

import (
	"sync"
	"sync/atomic"
	"time"
)

// share is what all connections of a key use together. It outlives reloads of the keys.
type share struct {
	key      Fingerprint
	requests tokens
	connects tokens
}

// tokens are those of a rate that all connections of a key share.
type tokens struct {
	bucket atomic.Pointer[bucket] // nil: no limit; written by shares.set
	full   atomic.Int64           // state of the bucket
}

// fingerprint is that of the key; zero without one.
func (s *share) fingerprint() Fingerprint {
	if s == nil {
		return Fingerprint{}
	}
	return s.key
}

// take takes a token for a request and reports whether one was left. Any goroutine; nil is a client
// without a key.
func (s *share) take(now int64) bool { return s == nil || s.requests.take(now) }

// take takes a token and reports whether one was left.
func (t *tokens) take(now int64) bool {
	b := t.bucket.Load()
	if b == nil {
		return true
	}
	for {
		full := t.full.Load()
		next := full
		ok := b.take(&next, now)
		if t.full.CompareAndSwap(full, next) { // also without a token: the state of a slower rate is cut off
			return ok
		}
	}
}

// give returns the token of a request.
func (s *share) give() {
	if s == nil {
		return
	}
	if b := s.requests.bucket.Load(); b != nil {
		s.requests.full.Add(-b.interval)
	}
}

// shares are the keys that are authorized, and the shares of all that ever were, by a number that a
// connection keeps. 0 is none.
type shares struct {
	ring atomic.Pointer[Keyring]
	all  atomic.Pointer[[]*share] // only grows; read by readers

	mu  sync.Mutex // guards the rest, and growing
	ids map[Fingerprint]int32
}

// set puts keys in force, and their rates, also for connections that are open.
func (s *shares) set(ring *Keyring) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []*share{nil}
	if s.ids == nil {
		s.ids = map[Fingerprint]int32{}
	} else {
		all = *s.all.Load()
	}
	for _, id := range ring.All() {
		at, known := s.ids[id.Key]
		if !known {
			at = int32(len(all))
			s.ids[id.Key] = at
			all = append(all, &share{key: id.Key}) // readers see the old length
		}
		all[at].requests.bucket.Store(id.Rate.optional())
		all[at].connects.bucket.Store(id.ConnectRate.optional())
	}
	s.all.Store(&all)
	s.ring.Store(ring) // last: a key that is found has a share
}

// optional is the bucket of a rate, nil for no limit.
func (r Rate) optional() *bucket {
	if r == (Rate{}) {
		return nil
	}
	b := r.bucket()
	return &b
}

// of returns the number of a key's share; 0 if it never was authorized.
func (s *shares) of(key Fingerprint) int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[key]
}

// at returns a share by its number.
func (s *shares) at(n int32) *share { return (*s.all.Load())[n] }

// Heartbeats of a connection. A client needs one in a third of the time that it may be silent. One that
// sends more than this for a while costs other connections of its reader, and is ended.
const (
	beatsPerSecond = 100
	beatsBurst     = 1000
)

// beatsBucket is the limit of heartbeats.
func beatsBucket() bucket {
	return bucket{interval: int64(time.Second) / beatsPerSecond,
		depth: int64(time.Second) / beatsPerSecond * beatsBurst}
}

// beat takes a heartbeat, which counts as a request while the rates have a token, and reports whether
// the connection may send it.
func (r *record) beat(rate bucket, who *share, now int64) bool {
	if rate.interval == 0 || rate.take(&r.allowance, now) {
		who.take(now)
	}
	return beatsBucket().take(&r.beats, now)
}
