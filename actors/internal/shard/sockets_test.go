package shard

import (
	"errors"
	"testing"
	"time"
)

func TestSocketsOwnEachDescriptorOnce(t *testing.T) {
	var s Sockets
	if owner := s.Take(5, 1); owner != 0 {
		t.Fatalf("a free descriptor belongs to %d", owner)
	}
	if owner := s.Take(5, 2); owner != 1 {
		t.Fatalf("the descriptor belongs to %d, want 1", owner)
	}
	s.Forget(5)
	if owner := s.Take(5, 2); owner != 0 {
		t.Fatalf("a forgotten descriptor belongs to %d", owner)
	}

	// While close(2) is under way, the number is neither owned nor free: a caller waits, and gets it
	// only once it is closed.
	closing, closed, taken := make(chan struct{}), make(chan struct{}), make(chan uint64, 1)
	broken := errors.New("planted")
	result := make(chan error, 1)
	go func() {
		result <- s.Close(5, func(fd int32) error {
			close(closing)
			<-closed
			return broken
		})
	}()
	<-closing
	go func() { taken <- s.Take(5, 3) }()
	select {
	case owner := <-taken:
		t.Fatalf("taken (%d) while it is being closed", owner)
	case <-time.After(20 * time.Millisecond):
	}
	close(closed)
	if owner := <-taken; owner != 0 {
		t.Errorf("a closed descriptor belongs to %d", owner)
	}
	if err := <-result; err != broken {
		t.Errorf("Close returned %v", err)
	}
	if owner := s.Take(5, 4); owner != 3 {
		t.Errorf("the descriptor belongs to %d, want 3", owner)
	}
}
