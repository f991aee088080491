package observe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"

	"sluice/transport/listen"
)

// endpoint is an HTTP listener of the admin.
type endpoint struct {
	name     string
	listener net.Listener
	places   *places // of listener
	http     *http.Server
	operator bool    // clients of this endpoint may send commands
	anyHost  bool    // accept any Host header
	metrics  bool    // serve /metrics and nothing else
	access   *access // of an endpoint with TLS; nil for the others
}

// requestInfo accompanies a request over any endpoint.
type requestInfo struct {
	from     string // client, for the log
	operator bool   // may send commands
	then     func() // called once the response is on its way, if not nil
}

type infoKey struct{}
type clientKey struct{}

// caller is the client of a connection.
type caller struct {
	from string // for the log
	conn *placed
}

func infoOf(r *http.Request) *requestInfo { return r.Context().Value(infoKey{}).(*requestInfo) }

// loopback reports whether only this machine can reach a TCP listener.
func loopback(l net.Listener) bool {
	at, ok := l.Addr().(*net.TCPAddr)
	return ok && at.IP.IsLoopback()
}

// connContext keeps the client of a connection.
func (e *endpoint) connContext(ctx context.Context, c net.Conn) context.Context {
	from := e.name + " " + c.RemoteAddr().String()
	conn, _ := placedOf(c) // of places
	if local, ok := conn.Conn.(*localConn); ok {
		from = fmt.Sprintf("%s, user id %d, process %d", e.name, local.uid, local.pid)
	}
	return context.WithValue(ctx, clientKey{}, caller{from, conn})
}

// guard checks the Host header and attaches a requestInfo to each request.
func (e *endpoint) guard(a *admin, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := r.Context().Value(clientKey{}).(caller)
		e.places.first(client.conn)
		if !e.anyHost && !plainHost(r.Host) {
			reject(w, r, http.StatusForbidden,
				"host %q is not an IP address or localhost; other names are rejected, "+
					"so that no web page can read this through a name of its own", r.Host)
			return
		}
		if e.metrics && r.URL.Path != "/metrics" {
			reject(w, r, http.StatusNotFound, "this address has /metrics only; the other pages are at the admin address")
			return
		}
		v := &requestInfo{from: client.from, operator: e.operator}
		if e.access != nil {
			who, operator := e.access.judge(r, a.node)
			if who == "" {
				e.access.denied.Add(1)
				a.deny(r, client.from, http.StatusUnauthorized)
				unauthorized(w, r)
				return
			}
			v.from, v.operator = who+", "+client.from, operator
		}
		r.Body = http.MaxBytesReader(w, r.Body, bodyBytes)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), infoKey{}, v)))
		if v.then != nil {
			_ = http.NewResponseController(w).Flush() // on an error the client is gone
			v.then()
		}
	})
}

// plainHost reports whether a Host header can only mean this machine. Any other name may belong to
// an attacker who points it at the loopback address. A browser always sends a host, so a request
// without one, as in HTTP/1.0, comes from a program.
func plainHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	host = strings.TrimSuffix(host, ".")
	_, err := netip.ParseAddr(host)
	return host == "" || err == nil || strings.EqualFold(host, "localhost") || numeric(host)
}

// numeric reports whether a host is an IPv4 address in a short form, such as 127.1, which is never
// looked up as a name: its last part is a number.
func numeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// localConn is a connection of the unix-domain socket whose process is known.
type localConn struct {
	net.Conn
	uid uint32
	pid int32
}

// listenUnix binds the unix-domain socket: a file that only its owner may open. The user id of a
// process that connects nevertheless is checked.
func listenUnix(path string) (net.Listener, error) {
	if err := listen.RemoveStaleSocket(path); err != nil {
		return nil, fmt.Errorf("observe: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("observe: admin socket: %w; create its directory, or "+
			"choose another path", err)
	}
	if err != nil {
		return nil, fmt.Errorf("observe: admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("observe: admin socket: %w", err), l.Close())
	}
	l.SetUnlinkOnClose(false) // another server may have made a socket there since
	made, err := os.Lstat(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("observe: admin socket: %w", err), l.Close())
	}
	return &ownerListener{UnixListener: l, self: uint32(os.Geteuid()), path: path, made: made}, nil
}

// ownerListener accepts connections of processes of this process's user, and of root.
type ownerListener struct {
	*net.UnixListener
	self uint32
	path string
	made os.FileInfo // the file that this process made at path; nil for a duplicate
}

// Close implements net.Listener. It removes the file, unless another server has replaced it. It does
// so before the close: an inode that is in use is not given to another file.
func (l *ownerListener) Close() error {
	if now, err := os.Lstat(l.path); l.made != nil && err == nil && os.SameFile(now, l.made) {
		_ = os.Remove(l.path) // harmless if it fails: the next server finds it stale
	}
	return l.UnixListener.Close()
}

// Accept implements net.Listener. A connection of another user is closed without a response.
func (l *ownerListener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, pid, err := credentials(c)
		if err == nil && (uid == l.self || uid == 0) {
			return &localConn{Conn: c, uid: uid, pid: pid}, nil
		}
		_ = c.Close() // nothing was sent
	}
}
