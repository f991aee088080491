package observe

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"sluice/actors/node"
	"sluice/transport/listen"
	"sluice/transport/secure"
)

// TokenLeast is the least length of a token in bytes.
const TokenLeast = 32

// Access is what the endpoint with TLS shows to its clients, and asks of them.
type Access struct {
	TLS   *tls.Config // with a certificate, as secure.Files.Load returns it
	Token string      // of operators; empty: there is none
}

// access is the Access in force. It outlives the observers of single periods.
type access struct {
	tls    atomic.Pointer[tls.Config]
	token  atomic.Pointer[[sha256.Size]byte] // nil: no token
	denied atomic.Uint64                     // requests without the right to what they asked for
}

// SetAccess replaces certificate and token of the endpoint with TLS, for later connections and requests.
func (l *Listeners) SetAccess(to Access) {
	c := to.TLS.Clone()
	if c.ClientCAs == nil {
		c.ClientAuth = tls.RequestClientCert // the fingerprint of a certificate is what counts
	}
	c.NextProtos = []string{"http/1.1"}
	l.access.tls.Store(c)
	l.access.token.Store(nil)
	if to.Token != "" {
		sum := sha256.Sum256([]byte(to.Token))
		l.access.token.Store(&sum)
	}
}

// config is what the endpoint serves TLS with.
func (a *access) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return a.tls.Load(), nil
	}}
}

// is reports whether a text is the token. Its time says nothing about how much of it is right.
func (a *access) is(text string) bool {
	want := a.token.Load()
	got := sha256.Sum256([]byte(text))
	return want != nil && subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// judge returns who sends a request over the endpoint with TLS, and whether it may send commands; "" if it
// is not known. A password is for browsers, which send it with every request that any page makes them send:
// it is good for reading. So is a certificate if the request comes from another page.
func (a *access) judge(r *http.Request, n node.Running) (who string, operator bool) {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && a.is(token) {
		return "token", true
	}
	if _, password, ok := r.BasicAuth(); ok && a.is(password) {
		return "token as password", false
	}
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return "", false
	}
	id := certified(n, r.TLS.PeerCertificates[0])
	if id == nil {
		return "", false
	}
	return id.String(), id.Role == listen.Operator && http.NewCrossOriginProtection().Check(r) == nil
}

// certified returns the identity of a certificate, nil if it has none now.
func certified(n node.Running, c *x509.Certificate) *listen.Identity {
	now, print := time.Now(), secure.FingerprintOf(c)
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return nil
	}
	for _, use := range n.Keys() {
		if use.Certificate == print && !use.Expired(now) {
			return use.Identity
		}
	}
	return nil
}

// unauthorized answers a request of an unknown client and ends its connection, which has one of maxConnections places.
func unauthorized(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close")
	w.Header().Add("WWW-Authenticate", `Bearer realm="sluice"`)
	w.Header().Add("WWW-Authenticate", `Basic realm="sluice: the token is the password", charset="UTF-8"`)
	reject(w, r, http.StatusUnauthorized, "this address needs the token of its server, or the certificate of an "+
		"operator: sluice admin --token-file, --client-cert; in a browser it is the password, with any user name")
}

// ReadToken reads a file with a token and nothing else but blanks around it. Other users must not be able to read it.
func ReadToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("observe: token: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("observe: token: %w", err)
	}
	if m := info.Mode(); !m.IsRegular() || m.Perm()&0o027 != 0 {
		return "", fmt.Errorf("observe: token: %s has mode %v; it must be a file that its group cannot write and others "+
			"cannot read: chmod 600 %s", path, m, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return "", fmt.Errorf("observe: token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	switch {
	case len(token) < TokenLeast:
		return "", fmt.Errorf("observe: token: %s has one of %d bytes, at least %d are needed; make one with "+
			"openssl rand -hex 32", path, len(token), TokenLeast)
	case strings.ContainsAny(token, " \t\r\n"):
		return "", errors.New("observe: token: " + path + " has more than one word")
	}
	return token, nil
}
