package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// authority issues certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	last int64 // serial number
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t, pool: x509.NewCertPool(), key: newKey(t)}
	issued := a.issue(func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
		c.Subject.CommonName = "authority of a test"
	})
	a.cert = issued.Leaf
	a.pool.AddCert(a.cert)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes a certificate that is valid for an hour, after a change. The first one is the
// authority's own.
func (a *authority) issue(change func(*x509.Certificate)) *tls.Certificate {
	a.t.Helper()
	a.last++
	c := &x509.Certificate{SerialNumber: big.NewInt(a.last), Subject: pkix.Name{CommonName: "a node"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	change(c)
	parent, key := a.cert, newKey(a.t)
	if parent == nil {
		parent, key = c, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// node issues the certificate of a node.
func (a *authority) node(n uint8) *tls.Certificate {
	return a.issue(func(c *x509.Certificate) { c.DNSNames = []string{Name(n)} })
}

// config returns the configuration of a node, whose certificate can be exchanged while it runs.
func (a *authority) config(own *tls.Certificate) (*tls.Config, *atomic.Pointer[tls.Certificate]) {
	now := &atomic.Pointer[tls.Certificate]{}
	now.Store(own)
	return &tls.Config{
		ClientAuth: tls.RequireAndVerifyClientCert, RootCAs: a.pool, ClientCAs: a.pool,
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return now.Load(), nil },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return now.Load(), nil },
	}, now
}

// files writes a certificate, its key and the authority, and returns the names of the files.
func (a *authority) files(dir string, c *tls.Certificate) (cert, key, ca string) {
	a.t.Helper()
	private, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: c.Certificate[0]},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: private},
		"ca.pem":   {Type: "CERTIFICATE", Bytes: a.cert.Raw},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")
}
