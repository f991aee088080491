package secure

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// write stores a certificate and its key.
func write(t testing.TB, pair tls.Certificate) (f Files) {
	t.Helper()
	dir := t.TempDir()
	f.Cert, f.Key = filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	must(t, err)
	must(t, os.WriteFile(f.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE",
		Bytes: pair.Certificate[0]}), 0o600))
	must(t, os.WriteFile(f.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	return f
}

func made(t testing.TB, from, until time.Duration) tls.Certificate {
	t.Helper()
	pair, err := SelfSigned(time.Now().Add(from), time.Now().Add(until), "localhost")
	must(t, err)
	return pair
}

func TestFilesThatCannotServeAreRejected(t *testing.T) {
	good, other := write(t, made(t, -time.Hour, time.Hour)), write(t, made(t, -time.Hour, time.Hour))
	expired, early := write(t, made(t, -2*time.Hour, -time.Hour)), write(t, made(t, time.Hour, 2*time.Hour))
	if _, err := good.Load(); err != nil {
		t.Fatal(err)
	}
	for want, f := range map[string]Files{
		"does not match": {Cert: good.Cert, Key: other.Key},
		"no such file":   {Cert: good.Cert, Key: good.Key + "x"},
		"expired":        expired,
		"not valid":      early,
		"PEM":            {Cert: good.Cert, Key: good.Key, ClientCA: good.Key},
	} {
		if _, err := f.Load(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// connected returns both ends of a connection.
func connected(t testing.TB) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	far, err = net.Dial("tcp", l.Addr().String())
	must(t, err)
	near, err = l.Accept()
	must(t, err)
	for _, c := range []net.Conn{near, far} {
		must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		t.Cleanup(func() { c.Close() })
	}
	return near, far
}

// try does a handshake with a client of a configuration.
func try(t testing.TB, server, client *tls.Config) (s *Session, serverErr, clientErr error) {
	t.Helper()
	near, far := connected(t)
	done := make(chan error, 1)
	go func() {
		c := tls.Client(far, client)
		err := c.Handshake()
		if err == nil {
			_, err = c.Read(make([]byte, 1))
		}
		far.Close()
		done <- err
	}()
	s = Server(near, server)
	if serverErr = s.Handshake(); serverErr == nil {
		b, err := s.End(nil)
		must(t, err)
		_, _ = near.Write(b)
	}
	return s, serverErr, <-done
}

func TestOlderVersionsAreRefused(t *testing.T) {
	server := Config(made(t, -time.Hour, time.Hour))
	if _, err, _ := try(t, server, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil ||
		!strings.Contains(err.Error(), "version") {
		t.Errorf("TLS 1.2: %v", err)
	}
}

func TestClientCertificateIsOptionalAndVerified(t *testing.T) {
	ours, foreign, late := made(t, -time.Hour, time.Hour), made(t, -time.Hour, time.Hour), made(t,
		-2*time.Hour, -time.Hour)
	pair := made(t, -time.Hour, time.Hour)
	files := write(t, pair)
	files.ClientCA = write(t, ours).Cert
	server, err := files.Load()
	must(t, err)
	client := func(with ...tls.Certificate) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &append(with, tls.Certificate{})[0], nil
			}}
	}
	s, err, _ := try(t, server, client(ours))
	must(t, err)
	if peer := s.Peer(); peer == nil || FingerprintOf(peer) != FingerprintOf(ours.Leaf) {
		t.Errorf("the peer is %v", peer)
	}
	s, err, _ = try(t, server, client())
	must(t, err)
	if s.Peer() != nil {
		t.Error("a client without a certificate has one")
	}
	for name, bad := range map[string]tls.Certificate{"of another authority": foreign, "expired": late} {
		if _, err, _ := try(t, server, client(bad)); err == nil {
			t.Errorf("a certificate is accepted that is %s", name)
		}
	}
}

// late is a server's end of a connection that is read on only once the client has done what it does, after the
// server's flight.
type late struct {
	net.Conn
	wrote bool
	after chan struct{}
}

func (l *late) Write(b []byte) (int, error) {
	l.wrote = true
	return l.Conn.Write(b)
}

func (l *late) Read(b []byte) (int, error) {
	if l.wrote {
		<-l.after
	}
	return l.Conn.Read(b)
}

// What a client sends behind its handshake is left to the reader.
func TestHandshakeLeavesDataInTheSocket(t *testing.T) {
	near, far := connected(t)
	l := &late{Conn: near, after: make(chan struct{})}
	go func() {
		c := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
		_, _ = c.Write([]byte("early"))
		close(l.after)
	}()
	s := Server(l, Config(made(t, -time.Hour, time.Hour)))
	must(t, s.Handshake())
	records, plain := make([]byte, 256), make([]byte, 256)
	n, err := near.Read(records)
	must(t, err)
	n, _, err = s.Open(plain, records[:n], 0)
	if string(plain[:n]) != "early" || err != nil {
		t.Errorf("read %q, %v", plain[:n], err)
	}
}
