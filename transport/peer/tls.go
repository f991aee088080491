package peer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// tlsHandshake is the first byte of a TLS connection.
const tlsHandshake = 0x16

// Name returns the DNS name that the certificate of a node must have.
func Name(node uint8) string { return fmt.Sprintf("node-%d", node) }

// TLS returns a configuration for mutual TLS 1.3 from PEM files: the certificate of this node with
// its key, and the authorities that sign the certificates of the nodes. Certificate and key are read
// again for each handshake, so they can be renewed in place; the authorities are read once. A
// certificate must be valid for both client and server, and have the DNS name that Name returns.
func TLS(certFile, keyFile, caFile string) (*tls.Config, error) {
	load := func() (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("certificate %s with key %s: %w", certFile, keyFile, err)
		}
		return &c, nil
	}
	if _, err := load(); err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("peer: certificate authorities: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("peer: %s has no certificate in PEM form", caFile)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequireAndVerifyClientCert,
		RootCAs:    authorities,
		ClientCAs:  authorities,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return load()
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return load()
		},
	}, nil
}

// checkTLS reports why a configuration is not mutual, and why the peers would refuse the certificate
// of this node.
func (c *Config) checkTLS() error {
	t := c.TLS
	if t.ClientAuth != tls.RequireAndVerifyClientCert || t.RootCAs == nil || t.ClientCAs == nil ||
		t.InsecureSkipVerify {
		return errors.New("TLS is not mutual: it needs RootCAs, ClientCAs and RequireAndVerifyClientCert; use peer.TLS")
	}
	own, err := ownCertificate(t)
	if err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	chain := x509.NewCertPool()
	for _, der := range own.Certificate[1:] {
		if above, err := x509.ParseCertificate(der); err == nil {
			chain.AddCert(above)
		}
	}
	now := time.Now()
	if t.Time != nil {
		now = t.Time()
	}
	for usage, roots := range map[x509.ExtKeyUsage]*x509.CertPool{
		x509.ExtKeyUsageServerAuth: t.RootCAs, x509.ExtKeyUsageClientAuth: t.ClientCAs,
	} {
		if _, err := own.Leaf.Verify(x509.VerifyOptions{
			DNSName: Name(c.Node), Roots: roots, Intermediates: chain, CurrentTime: now,
			KeyUsages: []x509.ExtKeyUsage{usage},
		}); err != nil {
			return fmt.Errorf("TLS: the certificate of this node (%v, valid until %s) would be refused: %w; "+
				"it needs the DNS name %q, and must be valid for both client and server", own.Leaf.DNSNames,
				own.Leaf.NotAfter.Format(time.RFC3339), err, Name(c.Node))
		}
	}
	return nil
}

// ownCertificate returns the certificate that this node presents as a client.
func ownCertificate(t *tls.Config) (*tls.Certificate, error) {
	var own *tls.Certificate
	switch {
	case len(t.Certificates) > 0:
		own = &t.Certificates[0]
	case t.GetCertificate != nil && t.GetClientCertificate != nil:
		var err error
		if own, err = t.GetClientCertificate(&tls.CertificateRequestInfo{}); err != nil {
			return nil, err
		}
	}
	if own == nil || len(own.Certificate) == 0 {
		return nil, errors.New("no certificate for this node: use peer.TLS")
	}
	if own.Leaf == nil {
		leaf, err := x509.ParseCertificate(own.Certificate[0])
		if err != nil {
			return nil, err
		}
		own = &tls.Certificate{Certificate: own.Certificate, PrivateKey: own.PrivateKey, Leaf: leaf}
	}
	return own, nil
}

// server returns the configuration for accepted connections, and client the one for connections to a
// node. Sessions are never resumed, so that every handshake checks the certificates in full.
func (c *Config) server() *tls.Config {
	if c.TLS == nil {
		return nil
	}
	t := c.TLS.Clone()
	t.MinVersion, t.SessionTicketsDisabled, t.ClientSessionCache = tls.VersionTLS13, true, nil
	return t
}

func (c *Config) client(node uint8) *tls.Config {
	t := c.server()
	if t != nil {
		t.ServerName = Name(node)
	}
	return t
}

var errOnlyOneTLS = errors.New("one node speaks TLS, the other does not: configure both or neither")

// explain adds what an error of a TLS handshake means for an operator.
func explain(err error) error {
	var plain tls.RecordHeaderError
	var network *net.OpError
	switch {
	case errors.As(err, &plain):
		return fmt.Errorf("%w (%w)", errOnlyOneTLS, err)
	case errors.As(err, &network) && network.Op == "remote error": // an alert
		return &RefusedError{Text: network.Err.Error() + ": check the certificates and authorities of both nodes"}
	}
	return err
}
