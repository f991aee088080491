package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"

	"sluice/transport/secure"
)

// TLS is how a server proves who it is: by a certificate that an authority has issued for its name, or by the
// fingerprint of its certificate. The client's signature then covers the connection, so that no server in between
// can use it.
type TLS struct {
	CA  *x509.CertPool     // authorities; nil: those of the system
	Pin secure.Fingerprint // of the server's certificate, in place of authorities and name; zero: none

	// Name is the name, or IP address, for which the certificate must be issued. Default, in Dial and a Session:
	// the host of the address.
	Name string

	Certificate *tls.Certificate // of the client, if the server asks for one; nil: none
}

// Errors of TLS, which errors.Is finds in those of a handshake.
var (
	// ErrServerCertificate means that the server did not prove who it is.
	ErrServerCertificate = errors.New("the server's certificate is rejected")
	// ErrNotTLS means that the server does not speak TLS at this address.
	ErrNotTLS = errors.New("the server does not speak TLS at this address")
)

// named returns options whose TLS has a name: the host of an address. Unix-domain sockets have no TLS.
func (o Options) named(network, address string) Options {
	if o.TLS == nil {
		return o
	}
	if network == "unix" {
		o.TLS = nil
		return o
	}
	if o.TLS.Name == "" {
		t := *o.TLS
		if host, _, err := net.SplitHostPort(address); err == nil {
			t.Name = host
		}
		o.TLS = &t
	}
	return o
}

// config translates the options for crypto/tls.
func (t *TLS) config() *tls.Config {
	c := &tls.Config{RootCAs: t.CA, ServerName: t.Name, MinVersion: tls.VersionTLS13}
	if t.Certificate != nil {
		c.Certificates = []tls.Certificate{*t.Certificate}
	}
	if t.Pin != (secure.Fingerprint{}) {
		c.InsecureSkipVerify = true // the fingerprint names one certificate, which needs no other
		c.VerifyConnection = func(state tls.ConnectionState) error {
			if got := secure.FingerprintOf(state.PeerCertificates[0]); got != t.Pin {
				return fmt.Errorf("%w: its fingerprint is %v, and %v is pinned: this is another server, or its "+
					"certificate was replaced", ErrServerCertificate, got, t.Pin)
			}
			return nil
		}
	}
	return c
}

// Dial connects to an address and does the TLS handshake, for other protocols than that of this package.
func (t *TLS) Dial(ctx context.Context, address string) (net.Conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, Options{TLS: t}.named("tcp", address).TLS.config())
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // the handshake has the error
		return nil, tlsError(err)
	}
	return conn, nil
}

// startTLS does the TLS handshake.
func (c *Conn) startTLS() error {
	t := c.options.TLS
	if t.Name == "" && t.Pin == (secure.Fingerprint{}) {
		return errors.New("client: TLS.Name is empty: name the server that the certificate is for, or pin " +
			"its fingerprint")
	}
	conn := tls.Client(c.conn, t.config())
	if err := conn.Handshake(); err != nil {
		return tlsError(err)
	}
	state := conn.ConnectionState()
	binding, err := secure.Binding(&state)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	c.conn, c.binding = conn, binding[:]
	return nil
}

// tlsError says what went wrong in a TLS handshake.
func tlsError(err error) error {
	var header tls.RecordHeaderError
	var chain *tls.CertificateVerificationError
	switch {
	case errors.As(err, &header):
		err = fmt.Errorf("%w: %w; connect without TLS, or to its endpoint with TLS", ErrNotTLS, err)
	case errors.As(err, &chain):
		err = fmt.Errorf("%w: %w", ErrServerCertificate, err)
	case errors.Is(err, io.EOF):
		err = errors.New("the server closed the connection without a reason")
	}
	return fmt.Errorf("client: TLS: %w", err)
}
