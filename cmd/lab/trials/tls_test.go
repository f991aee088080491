package trials

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/transport/client"
	"sluice/transport/secure"
)

// certificate makes a certificate for loopback, and what clients need to pin it.
func certificate(t testing.TB) (tls.Certificate, *client.TLS) {
	t.Helper()
	pair, err := secure.SelfSigned(time.Now().Add(-time.Hour), time.Now().Add(240*time.Hour), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return pair, &client.TLS{Pin: secure.FingerprintOf(pair.Leaf)}
}

// certificateFiles writes a certificate into a directory, for a server process.
func certificateFiles(t testing.TB, dir string) (cert, key string, pin *client.TLS) {
	t.Helper()
	pair, pin := certificate(t)
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key, pin
}
