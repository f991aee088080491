package client

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"syscall"

	"sluice/transport/wire"
)

// Errors of the handshake. A server that rejects the client also says why: see CloseError.
var (
	// ErrAuthFailed is matched by a CloseError with the reason unauthorized.
	ErrAuthFailed = errors.New("client: the server rejected the key")
	ErrNoKey      = errors.New("client: the server requires authentication and no key is configured")

	// ErrNoChallenge means that the server did not begin with a Challenge, as one does not that speaks TLS.
	ErrNoChallenge = errors.New("this was no Challenge; if the server speaks TLS at this address, set Options.TLS")

	// ErrNotChallenged means that the server admits every client, although this one has a key. Who
	// answers there is unknown, so the client leaves.
	ErrNotChallenged = errors.New("client: a key is configured, and the server does not ask for one: " +
		"connect to an endpoint with authentication, or without a key")

	// ErrChallengedTwice means that the server asked for a second answer. Its second challenge may be
	// that of another server, to which it would pass the signature on.
	ErrChallengedTwice = errors.New("client: the server sent a second Challenge: one signature belongs to " +
		"one connection, so nothing was signed")
)

// close records the server's last frame.
func (c *Conn) close(body []byte) error {
	end, ok := wire.DecodeClose(body)
	if !ok {
		return fmt.Errorf("client: the server sent a Close of %d bytes", len(body))
	}
	c.closed = &CloseError{end}
	return c.closed
}

// handshake answers the server's Challenge and waits to be admitted.
func (c *Conn) handshake() error {
	tag, body, err := c.nextOfHandshake()
	if err != nil {
		silent := c.closed == nil && !errors.Is(err, syscall.ECONNRESET) // a server that ends resets connections
		if c.binding == nil && (silent || c.closed != nil && c.closed.Reason == wire.CloseHandshakeTimeout) {
			err = fmt.Errorf("%w: %w", err, ErrNoChallenge)
		}
		return err // else the server is one, and says why it does not admit this client
	}
	if tag != wire.TagChallenge {
		return fmt.Errorf("client: handshake: the server sent tag %#02x, want a Challenge first", tag)
	}
	challenge, ok := wire.DecodeChallenge(body)
	if !ok {
		return fmt.Errorf("client: handshake: the server sent a Challenge of %d bytes", len(body))
	}
	if err := c.hello(&challenge); err != nil {
		return err
	}
	if tag, body, err = c.nextOfHandshake(); err != nil {
		return err
	}
	if tag == wire.TagChallenge {
		return ErrChallengedTwice
	}
	if tag != wire.TagServerReady {
		return fmt.Errorf("client: handshake: the server sent tag %#02x, want ServerReady", tag)
	}
	c.server, ok = wire.DecodeServerReady(body)
	if !ok || c.server.Version > wire.Version {
		return fmt.Errorf("client: handshake: the server sent a ServerReady that version %d does not have: % x",
			wire.Version, body)
	}
	return nil
}

func (c *Conn) nextOfHandshake() (uint8, []byte, error) {
	tag, body, err := c.next()
	if err == io.EOF {
		err = errors.New("the server closed the connection without a reason")
	}
	if err != nil {
		err = fmt.Errorf("client: handshake: %w", err)
	}
	return tag, body, err
}

// hello sends Hello, signed if the server needs it.
func (c *Conn) hello(challenge *wire.Challenge) error {
	hello := wire.Hello{Version: wire.Version, Heartbeat: c.options.Heartbeat}
	switch key := c.options.Key; {
	case challenge.Sign && key == nil && c.options.TLS != nil && c.options.TLS.Certificate != nil: // it is the proof
	case challenge.Sign && key == nil:
		return ErrNoKey
	case !challenge.Sign && key != nil:
		return ErrNotChallenged
	case challenge.Sign:
		message := wire.Signed(&challenge.Nonce, c.binding)
		hello.Signature = ed25519.Sign(key, message)
		hello.Key = key[ed25519.PrivateKeySize-ed25519.PublicKeySize:]
	}
	_, err := c.conn.Write(wire.AppendHello(nil, &hello))
	if err == nil {
		return nil
	}
	if _, _, closed := c.next(); c.closed != nil { // a server that has left may have said why
		err = closed
	}
	return fmt.Errorf("client: handshake: %w", err)
}
