package shard

import (
	"runtime"
	"sync"
)

// Sockets is the set of descriptors that a pipeline owns, from Connect until it closed them. Any
// goroutine. The zero value is an empty set.
//
// Descriptors are small and dense, because the kernel gives out the lowest free number, so the set
// is a table: 8 B for each number up to the highest.
type Sockets struct {
	mu      sync.Mutex
	owners  []uint64           // by descriptor: the id of the connection, 0 if there is none
	closing map[int32]struct{} // descriptors whose close(2) is under way
}

// Take adds a descriptor. If a live connection owns it, Take returns its id and changes nothing;
// otherwise 0.
func (s *Sockets) Take(fd int32, conn uint64) (owner uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if _, under := s.closing[fd]; !under {
			break
		}
		// The kernel has given the number away, and Close is about to forget it.
		s.mu.Unlock()
		runtime.Gosched()
		s.mu.Lock()
	}
	if more := int(fd) + 1 - len(s.owners); more > 0 {
		s.owners = append(s.owners, make([]uint64, more)...)
	}
	if owner = s.owners[fd]; owner == 0 {
		s.owners[fd] = conn
	}
	return owner
}

// Forget removes a descriptor that goes back to the caller of Connect, or is closed.
func (s *Sockets) Forget(fd int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.closing, fd)
	if int(fd) < len(s.owners) { // else a simulator connected it past the pipeline
		s.owners[fd] = 0
	}
}

// Close closes a descriptor with shut and removes it. The number is never free to be taken while it
// is still open, and is free once it is not.
func (s *Sockets) Close(fd int32, shut func(fd int32) error) error {
	s.mu.Lock()
	if s.closing == nil {
		s.closing = map[int32]struct{}{}
	}
	s.closing[fd] = struct{}{}
	s.mu.Unlock()
	defer s.Forget(fd)
	return shut(fd)
}
