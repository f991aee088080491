package peer

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMutualTLS(t *testing.T) {
	ca := newAuthority(t)
	r := newRig(t, 1, 2)
	nodes := map[uint8]*node{}
	for n := uint8(1); n <= 2; n++ {
		c := r.config(n)
		var err error
		if c.TLS, err = TLS(ca.files(t.TempDir(), ca.node(n))); err != nil {
			t.Fatal(err)
		}
		nodes[n] = r.start(c, quick())
	}
	for n := uint8(1); n <= 2; n++ {
		nodes[n].connected(3 - n)
	}
	large := strings.Repeat("0123456789abcdef", 1<<16)
	for i, frame := range []string{"short", "", large, "after"} {
		nodes[1].sends(2, Append, frame)
		if g := nodes[2].receives(); g != (got{Sender{1, 0, 1}, Append, frame}) {
			t.Fatalf("frame %d: got %d bytes from %+v, want %d", i, len(g.frame), g.from, len(frame))
		}
	}
	nodes[2].Close()
	eventually(t, "the end of the peer is noticed", func() bool { return !nodes[1].status(2, Control).Out.Connected })
	nodes[1].logs("peer disconnected", "closed by the peer")
}

// Node 1 is right in each case. The certificate of node 2 is exchanged before its start, because New
// would refuse it.
func TestCertificatesAreRefused(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	both := x509.NewCertPool()
	both.AddCert(ca.cert)
	both.AddCert(other.cert)
	for name, tt := range map[string]struct {
		authority *authority
		trusts    *x509.CertPool
		then      *tls.Certificate
		dials     [2]string // in the log of node 1 as acceptor, and of node 2
		accepts   string    // in the log of node 1 as dialler
	}{
		"wrong authority": {other, both, nil,
			[2]string{"unknown authority", "refused by the peer: tls: unknown certificate authority: check"}, "unknown authority"},
		"unknown authority on both sides": {other, other.pool, nil,
			[2]string{"refused by the peer: tls: bad certificate: check", "unknown authority"}, "unknown authority"},
		"another node's name": {ca, ca.pool, ca.node(3),
			[2]string{`node 2 presents a certificate for [\"node-3\"]: it needs the DNS name \"node-2\"`,
				`node 2 presents a certificate for [\"node-3\"]`}, "certificate is valid for node-3, not node-2"},
		"expired": {ca, ca.pool, ca.issue(func(c *x509.Certificate) {
			c.DNSNames, c.NotAfter = []string{Name(2)}, time.Now().Add(-time.Minute)
		}), [2]string{"certificate has expired", "refused by the peer: tls: expired certificate: check"}, "certificate has expired"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1, 2)
			c := r.config(1)
			c.TLS, _ = ca.config(ca.node(1))
			a := r.start(c, quick())
			c = r.config(2)
			own, now := tt.authority.config(tt.authority.node(2))
			own.RootCAs, own.ClientCAs, c.TLS = tt.trusts, tt.trusts, own
			b := newNode(t, c, quick())
			if tt.then != nil {
				now.Store(tt.then)
			}
			b.Start()
			a.logs("peer refused", tt.dials[0])
			b.logs("peer not connected", "node=1", tt.dials[1])
			a.logs("peer not connected", "node=2", tt.accepts)
		})
	}
}

func TestCertificateIsRequired(t *testing.T) {
	ca := newAuthority(t)
	r := newRig(t, 1, 2)
	c := r.config(1)
	c.TLS, _ = ca.config(ca.node(1))
	n := r.start(c, quick())
	s := dialNode(t, n)
	secure := tls.Client(s.raw, &tls.Config{RootCAs: ca.pool, ServerName: Name(1)})
	if err := secure.Handshake(); err != nil {
		t.Fatal(err)
	}
	if _, err := secure.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without a certificate: %v", err)
	}
	n.logs("peer refused", "didn't provide a certificate")
	old := tls.Client(dialNode(t, n).raw, &tls.Config{RootCAs: ca.pool, ServerName: Name(1), MaxVersion: tls.VersionTLS12})
	if err := old.Handshake(); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.2: %v", err)
	}
}

// Node 1 has TLS, node 2 has not: both say so, whichever connects.
func TestPlainTextAgainstTLS(t *testing.T) {
	ca := newAuthority(t)
	r := newRig(t, 1, 2)
	c := r.config(1)
	c.TLS, _ = ca.config(ca.node(1))
	a, b := r.start(c, quick()), r.start(r.config(2), quick())
	const words = "one node speaks TLS, the other does not"
	for _, n := range []*node{a, b} {
		n.logs("peer refused", words)
		n.logs("peer not connected", words)
	}
	if a.status(2, Control).Out.Connections+b.status(1, Control).Out.Connections > 0 {
		t.Error("they are connected")
	}
}

func TestCertificateIsRenewedInPlace(t *testing.T) {
	ca := newAuthority(t)
	dir := t.TempDir()
	r := newRig(t, 1, 2)
	c := r.config(1)
	var err error
	if c.TLS, err = TLS(ca.files(dir, ca.node(1))); err != nil {
		t.Fatal(err)
	}
	n := r.start(c, quick())
	for range 2 {
		renewed := ca.node(1)
		ca.files(dir, renewed)
		secure := tls.Client(dialNode(t, n).raw, &tls.Config{RootCAs: ca.pool, ServerName: Name(1),
			Certificates: []tls.Certificate{*ca.node(2)}})
		if err := secure.Handshake(); err != nil {
			t.Fatal(err)
		}
		if got := secure.ConnectionState().PeerCertificates[0]; !bytes.Equal(got.Raw, renewed.Certificate[0]) {
			t.Errorf("certificate %v is presented, want %v", got.SerialNumber, renewed.Leaf.SerialNumber)
		}
	}
}

func TestTLSFilesAreChecked(t *testing.T) {
	ca := newAuthority(t)
	dir := t.TempDir()
	cert, key, authorities := ca.files(dir, ca.node(1))
	_, otherKey, _ := ca.files(t.TempDir(), ca.node(1))
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ cert, key, ca, want string }{
		{cert, key, authorities, ""},
		{dir + "/none", key, authorities, "none: no such file"},
		{cert, otherKey, authorities, "private key does not match"},
		{cert, key, dir + "/none", "none: no such file"},
		{cert, key, empty, "empty.pem has no certificate in PEM form"},
		{empty, key, authorities, "empty.pem with key"},
	} {
		_, err := TLS(tt.cert, tt.key, tt.ca)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}
