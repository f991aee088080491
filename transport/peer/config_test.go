package peer

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"time"
)

func TestNewRefuses(t *testing.T) {
	ca := newAuthority(t)
	with := func(cert *tls.Certificate, change func(*tls.Config)) func(*Config) {
		return func(c *Config) {
			c.TLS, _ = ca.config(cert)
			change(c.TLS)
		}
	}
	keep := func(*tls.Config) {}
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"nothing":        {func(c *Config) {}, ""},
		"no cluster":     {func(c *Config) { c.Cluster = [16]byte{} }, "Cluster is zero"},
		"node 0":         {func(c *Config) { c.Node = 0 }, "Node is 0: want 1 to 31"},
		"node 32":        {func(c *Config) { c.Node = 32 }, "Node is 32"},
		"no incarnation": {func(c *Config) { c.Incarnation = 0 }, "Incarnation is 0"},
		"long version":   {func(c *Config) { c.Version = strings.Repeat("v", 256) }, "Version has 256 bytes"},
		"no receiver":    {func(c *Config) { c.Receive = nil }, "Receive is nil"},
		"negative bound": {func(c *Config) { c.BulkBytes = -1 }, "BulkBytes -1"},
		"itself": {func(c *Config) { c.Peers[1] = Peer{Address: "localhost:1"} },
			"Peers has node 1, which is this node"},
		"peer 40": {func(c *Config) { c.Peers[40] = Peer{Address: "localhost:1"} },
			"Peers has node 40: want 1 to 31"},
		"peer without port": {func(c *Config) { c.Peers[2] = Peer{Address: "localhost"} },
			`the address "localhost" of node 2`},
		"all interfaces":    {func(c *Config) { c.Listen = ":0" }, `":0" is not a loopback address, and TLS is nil`},
		"listens elsewhere": {func(c *Config) { c.Listen = "192.0.2.1:0" }, `"192.0.2.1:0" is not a loopback address`},
		"a peer elsewhere": {func(c *Config) { c.Peers[2] = Peer{Address: "192.0.2.1:7"} },
			`"192.0.2.1:7" is not a loopback address`},
		"a peer by name": {func(c *Config) { c.Peers[2] = Peer{Address: "n2.example:7"} },
			`"n2.example:7" is not a loopback address`},
		"IPv6 loopback":      {func(c *Config) { c.Peers[2] = Peer{Address: "[::1]:7"} }, ""},
		"elsewhere with TLS": {func(c *Config) { c.Peers[2] = Peer{Address: "192.0.2.1:7"}; with(ca.node(1), keep)(c) }, ""},
		"no client certificates": {with(ca.node(1), func(t *tls.Config) { t.ClientAuth = tls.RequireAnyClientCert }),
			"TLS is not mutual"},
		"no authorities":    {with(ca.node(1), func(t *tls.Config) { t.RootCAs = nil }), "TLS is not mutual"},
		"nothing verified":  {with(ca.node(1), func(t *tls.Config) { t.InsecureSkipVerify = true }), "TLS is not mutual"},
		"no certificate":    {with(ca.node(1), func(t *tls.Config) { t.GetCertificate = nil }), "no certificate for this node"},
		"another's name":    {with(ca.node(2), keep), `valid for node-2, not node-1; it needs the DNS name "node-1"`},
		"another authority": {with(newAuthority(t).node(1), keep), "unknown authority"},
		"expired": {with(ca.issue(func(c *x509.Certificate) {
			c.DNSNames, c.NotAfter = []string{Name(1)}, time.Now().Add(-time.Minute)
		}), keep), "has expired"},
		"for servers only": {with(ca.issue(func(c *x509.Certificate) {
			c.DNSNames, c.ExtKeyUsage = []string{Name(1)}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}), keep), "incompatible key usage; it needs the DNS name"},
		"for clients only": {with(ca.issue(func(c *x509.Certificate) {
			c.DNSNames, c.ExtKeyUsage = []string{Name(1)}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}), keep), "must be valid for both client and server"},
		"certificate without leaf": {with(ca.node(1), func(t *tls.Config) {
			own, _ := t.GetCertificate(nil)
			t.Certificates = []tls.Certificate{{Certificate: own.Certificate, PrivateKey: own.PrivateKey}}
		}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := Config{Cluster: [16]byte{1}, Node: 1, Incarnation: 1, Listen: "127.0.0.1:0",
				Peers: map[uint8]Peer{3: {Address: "localhost:7"}}, Receive: func(Sender, Lane, []byte) {}}
			tt.change(&c)
			l, err := New(c)
			if err == nil {
				l.Close()
			}
			if (tt.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestNewReportsAddressInUse(t *testing.T) {
	c := Config{Cluster: [16]byte{1}, Node: 1, Incarnation: 1, Listen: listen(t).Addr().String(),
		Receive: func(Sender, Lane, []byte) {}}
	if _, err := New(c); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v", err)
	}
}

func TestLaneNames(t *testing.T) {
	for lane, want := range map[Lane]string{Control: "control", Append: "append", Bulk: "bulk", 7: "lane 7"} {
		if got := lane.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
