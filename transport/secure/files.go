package secure

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Files names a server's certificate and key, and the authorities of client certificates, as PEM files.
type Files struct {
	Cert string // the certificate, followed by those between it and the authority
	Key  string
	// ClientCA has the authorities whose client certificates are accepted. If it is empty, clients may show any
	// certificate, and what it permits is judged by its fingerprint.
	ClientCA string
}

// Load reads the files. A certificate that does not belong to the key, or is not valid now, is an error.
func (f Files) Load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("secure: certificate %s with key %s: %w", f.Cert, f.Key, err)
	}
	if err := inForce(pair.Leaf, time.Now()); err != nil {
		return nil, fmt.Errorf("secure: certificate %s: %w", f.Cert, err)
	}
	c := Config(pair)
	c.ClientAuth = tls.RequestClientCert
	if f.ClientCA != "" {
		c.ClientAuth = tls.VerifyClientCertIfGiven
		if c.ClientCAs, err = ReadAuthorities(f.ClientCA); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Config is the configuration of a server with a certificate.
func Config(pair tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13,
		SessionTicketsDisabled: true, DynamicRecordSizingDisabled: true,
	}
}

func inForce(c *x509.Certificate, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return fmt.Errorf("it expired on %v; replace the file", c.NotAfter.UTC().Format(time.DateTime))
	case now.Before(c.NotBefore):
		return fmt.Errorf("it is not valid before %v; does the clock of this machine run late?",
			c.NotBefore.UTC().Format(time.DateTime))
	}
	return nil
}

// ReadAuthorities reads certificates of authorities from a PEM file.
func ReadAuthorities(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("secure: authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("secure: %s has no certificate in PEM form", path)
	}
	return pool, nil
}

// ReadCertificate reads the first certificate of a PEM file.
func ReadCertificate(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("secure: certificate: %w", err)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
	return nil, fmt.Errorf("secure: %s has no certificate in PEM form", path)
}

// Fingerprint is the SHA-256 of a certificate.
type Fingerprint [sha256.Size]byte

// FingerprintOf is the fingerprint of a certificate, as `openssl x509 -fingerprint -sha256` computes it.
func FingerprintOf(c *x509.Certificate) Fingerprint { return sha256.Sum256(c.Raw) }

// String is the fingerprint as 64 hexadecimal digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// ParseFingerprint reads 64 hexadecimal digits, with or without colons between bytes.
func ParseFingerprint(text string) (f Fingerprint, err error) {
	b, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err == nil && len(b) != len(f) {
		err = errors.New("wrong length")
	}
	if err != nil {
		return f, fmt.Errorf("secure: fingerprint %q: want the 64 hexadecimal digits of a SHA-256, "+
			"as `openssl x509 -fingerprint -sha256 -noout -in CERT` prints them", text)
	}
	return Fingerprint(b), nil
}
