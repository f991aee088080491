package client

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
)

// A server that ends while a client waits for a Challenge is not one that speaks TLS.
func TestResetBeforeTheChallengeIsNoSilence(t *testing.T) {
	connected := make(chan struct{})
	address := serve(t, "tcp", func(c net.Conn) error {
		<-connected // else connect(2) could fail
		return c.(*net.TCPConn).SetLinger(0)
	})
	c, err := net.Dial("tcp", address)
	close(connected)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(context.Background(), c, Options{}); !errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, ErrNoChallenge) {
		t.Errorf("%v, want a reset and no advice to use TLS", err)
	}
}
