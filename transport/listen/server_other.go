//go:build !linux

package listen

import (
	"crypto/tls"
	"errors"
	"fmt"
	"runtime"
)

// Server needs epoll(7). Elsewhere it only compiles, so that programs with a server in them can be
// built, and tested up to its start: New returns an error, and the other methods are never called.
type Server struct{}

// New returns an error that matches errors.ErrUnsupported.
func New(Config, Handler) (*Server, error) {
	return nil, fmt.Errorf("listen: a server needs Linux; this build is for %s: %w", runtime.GOOS,
		errors.ErrUnsupported)
}

// Bind does nothing.
func (*Server) Bind() error { return nil }

// Unavailable reports false: there is no error of Bind or Listen.
func Unavailable(err error) bool { return false }

// Listen does nothing.
func (*Server) Listen() error { return nil }

// Addresses returns nil.
func (*Server) Addresses() []string { return nil }

// Serve does nothing.
func (*Server) Serve() {}

// StopAccepting does nothing.
func (*Server) StopAccepting() {}

// Mute does nothing.
func (*Server) Mute() {}

// Close does nothing.
func (*Server) Close() error { return nil }

// Resume does nothing.
func (*Server) Resume() {}

// Rounds returns nil.
func (*Server) Rounds() []func() uint64 { return nil }

// Counters returns zeros.
func (*Server) Counters() Counters { return Counters{} }

// SetKeys does nothing.
func (*Server) SetKeys(*Keyring) {}

// Exposure returns nil.
func (*Server) Exposure() []string { return nil }

// SetTLS does nothing.
func (*Server) SetTLS(*tls.Config) {}

// SetRates does nothing.
func (*Server) SetRates(requests, connects Rate) error { return nil }

// RemoveStaleSocket does nothing: net.Listen reports a path that is in use.
func RemoveStaleSocket(path string) error { return nil }

// Hold returns an error that matches errors.ErrUnsupported.
func Hold(Config) (endpoints []Endpoint, release func(), err error) {
	_, err = New(Config{}, nil)
	return nil, nil, err
}
