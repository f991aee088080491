package shard

import (
	"runtime"
	"sync"
)

// Sockets is the set of descriptors that a pipeline owns, from Connect until it closed them. Any
// goroutine. The zero value is an empty set.
type Sockets struct {
	owners sync.Map // by descriptor, int32: the id of the connection, or closing
}

// closing is the owner of a descriptor whose close(2) is under way. No connection has this id.
const closing = uint64(0)

// Take adds a descriptor. If a live connection owns it, Take returns its id and changes nothing;
// otherwise 0.
func (s *Sockets) Take(fd int32, conn uint64) (owner uint64) {
	for {
		owner, taken := s.owners.LoadOrStore(fd, conn)
		if !taken {
			return 0
		}
		if owner != closing {
			return owner.(uint64)
		}
		// The kernel has given the number away, and Close is about to forget it.
		runtime.Gosched()
	}
}

// Forget removes a descriptor that goes back to the caller of Connect.
func (s *Sockets) Forget(fd int32) { s.owners.Delete(fd) }

// Close closes a descriptor with shut and removes it. The number is never free to be taken while it
// is still open, and is free once it is not.
func (s *Sockets) Close(fd int32, shut func(fd int32) error) error {
	s.owners.Store(fd, closing)
	defer s.owners.Delete(fd)
	return shut(fd)
}
