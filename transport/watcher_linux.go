package transport

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// watcher calls a function whenever an epoll descriptor has new events, without occupying a thread:
// the descriptor is itself watched by the Go poller, which is edge-triggered.
//
//	socket or ring ──► epoll descriptor ──► Go's poller ──► goroutine in RawConn.Read ──► onEdge
//
// The goroutine stays inside one RawConn.Read for its whole life. An edge that arrives while onEdge
// runs is kept by the runtime and reported when onEdge has returned, so none is lost. That would
// not hold between two calls of Read.
type watcher struct {
	file *os.File
	done chan struct{}
}

// newWatcher takes ownership of epfd, even if it fails. onEdge runs on the goroutine of the
// watcher, once at the start and then at least once after each change, and must not block.
func newWatcher(epfd int, onEdge func()) (*watcher, error) {
	// The flag has no meaning for epoll itself, but os.NewFile requires it to use the Go poller.
	if err := unix.SetNonblock(epfd, true); err != nil {
		unix.Close(epfd)
		return nil, fmt.Errorf("transport: watcher: fcntl: %w", err)
	}
	file := os.NewFile(uintptr(epfd), "epoll")
	// This fails if the poller did not accept it; it may be out of memory or of user watches
	// (epoll(7)).
	if err := file.SetReadDeadline(time.Time{}); err != nil {
		file.Close()
		return nil, fmt.Errorf("transport: watcher: Go's poller does not accept the epoll "+
			"descriptor: %w", err)
	}
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("transport: watcher: %w", err)
	}
	w := &watcher{file: file, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		// Read ends with os.ErrClosed when stop closes the file, and with nothing else.
		_ = conn.Read(func(uintptr) bool {
			onEdge()
			return false
		})
	}()
	return w, nil
}

// stop ends the goroutine and closes the descriptor. onEdge is not called after it returned.
func (w *watcher) stop() {
	w.file.Close() // close(2) of an epoll descriptor has no error to report
	<-w.done
}
