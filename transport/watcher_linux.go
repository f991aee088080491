package transport

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// watcher calls a function whenever an epoll descriptor reports something new, without holding a thread: the
// descriptor is itself watched by the Go runtime's poller, which knows only its edges.
//
//	socket or ring ──► epoll descriptor ──► Go's poller ──► goroutine in RawConn.Read ──► onEdge
//
// The goroutine stays inside one RawConn.Read for its whole life. An edge that comes while onEdge runs is kept by the
// runtime and reported when onEdge returned, so none is lost; that would not hold between two calls of Read.
type watcher struct {
	file *os.File
	done chan struct{}
}

// newWatcher takes ownership of epfd, also when it fails. onEdge runs on the watcher's goroutine, once at the start
// and then at least once after each change, and must not block.
func newWatcher(epfd int, onEdge func()) (*watcher, error) {
	// The flag means nothing to epoll itself; it tells os.NewFile that the descriptor is fit for the runtime's poller.
	if err := unix.SetNonblock(epfd, true); err != nil {
		unix.Close(epfd)
		return nil, fmt.Errorf("transport: watcher: fcntl: %w", err)
	}
	file := os.NewFile(uintptr(epfd), "epoll")
	// Only this tells whether the poller took it; it may be out of memory or of user watches (epoll(7)).
	if err := file.SetReadDeadline(time.Time{}); err != nil {
		file.Close()
		return nil, fmt.Errorf("transport: watcher: Go's poller does not take the epoll descriptor: %w", err)
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

// stop ends the goroutine and closes the descriptor. onEdge does not run after it returned.
func (w *watcher) stop() {
	w.file.Close() // its error would be that of close(2) on an epoll descriptor, which has none to report
	<-w.done
}
