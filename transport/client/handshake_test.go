package client

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
)

// A server that ends while a client connects is not one that speaks TLS.
func TestResetBeforeTheChallengeIsNoSilence(t *testing.T) {
	address := serve(t, "tcp", func(c net.Conn) error { return c.(*net.TCPConn).SetLinger(0) })
	_, err := Dial(context.Background(), "tcp", address, Options{})
	if !errors.Is(err, syscall.ECONNRESET) || errors.Is(err, ErrNoChallenge) {
		t.Errorf("%v, want a reset and no advice to use TLS", err)
	}
}
