package observe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"sluice/transport/listen"
)

// door is one way in over HTTP.
type door struct {
	name     string
	listener net.Listener
	http     *http.Server
	may      bool // who comes through here may change things
	anyHost  bool // any Host header is good
}

// visit is one request, whichever door it came through.
type visit struct {
	who  string // for the log
	may  bool   // may change things
	then func() // called once the answer is on its way, if not nil
}

type visitKey struct{}
type peerKey struct{}

func visitOf(r *http.Request) *visit { return r.Context().Value(visitKey{}).(*visit) }

// connContext keeps who connected.
func (d *door) connContext(ctx context.Context, c net.Conn) context.Context {
	who := d.name + " " + c.RemoteAddr().String()
	if placed, ok := c.(*place); ok {
		if peer, ok := placed.Conn.(*peerConn); ok {
			who = fmt.Sprintf("%s, user id %d, process %d", d.name, peer.uid, peer.pid)
		}
	}
	return context.WithValue(ctx, peerKey{}, who)
}

// guard makes a visit of each request.
func (d *door) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !d.anyHost && !plainHost(r.Host) {
			refuse(w, r, http.StatusForbidden, "host %q: only an IP address or localhost is answered here, so that no web page can read this through a name of its own", r.Host)
			return
		}
		who, _ := r.Context().Value(peerKey{}).(string)
		v := &visit{who: who, may: d.may}
		r.Body = http.MaxBytesReader(w, r.Body, bodyBytes)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitKey{}, v)))
		if v.then != nil {
			_ = http.NewResponseController(w).Flush() // an error says that nobody waits for the answer
			v.then()
		}
	})
}

// plainHost reports whether a Host header can only have been meant for this machine. A name could be anyone's, pointed at
// the loopback address.
func plainHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if len(host) > 1 && host[0] == '[' {
		host = host[1 : len(host)-1]
	}
	_, err := netip.ParseAddr(host)
	return err == nil || host == "localhost"
}

// peerConn is a connection of the unix door whose process is known.
type peerConn struct {
	net.Conn
	uid uint32
	pid int32
}

// listenUnix makes the unix door: a socket file that only its owner may open. Who nevertheless gets through is asked for
// its user id.
func listenUnix(path string) (net.Listener, error) {
	if err := listen.RemoveStaleSocket(path); err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("admin: %w", err), l.Close())
	}
	return &peerListener{UnixListener: l, self: uint32(os.Geteuid())}, nil
}

// peerListener lets processes of this process's user in, and root's.
type peerListener struct {
	*net.UnixListener
	self uint32
}

// Accept implements net.Listener. A stranger's connection is closed without a word.
func (l *peerListener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		peer, err := credentials(c)
		if err == nil && (peer.Uid == l.self || peer.Uid == 0) {
			return &peerConn{Conn: c, uid: peer.Uid, pid: peer.Pid}, nil
		}
		_ = c.Close() // it was never ours
	}
}

// credentials are those of the process that connected, SO_PEERCRED of unix(7).
func credentials(c *net.UnixConn) (peer *unix.Ucred, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	controlErr := raw.Control(func(fd uintptr) {
		peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return peer, errors.Join(controlErr, err)
}

// crowd is a listener with a fixed number of places: who finds none waits to be accepted.
type crowd struct {
	net.Listener
	free chan struct{}
	shut chan struct{} // closed by Close
	once sync.Once
}

func newCrowd(l net.Listener, n int) *crowd {
	return &crowd{Listener: l, free: make(chan struct{}, n), shut: make(chan struct{})}
}

// Accept implements net.Listener.
func (c *crowd) Accept() (net.Conn, error) {
	select {
	case c.free <- struct{}{}:
	case <-c.shut:
		return nil, net.ErrClosed
	}
	conn, err := c.Listener.Accept()
	if err != nil {
		<-c.free
		return nil, err
	}
	return &place{Conn: conn, leave: sync.OnceFunc(func() { <-c.free })}, nil
}

// Close implements net.Listener.
func (c *crowd) Close() error {
	c.once.Do(func() { close(c.shut) })
	return c.Listener.Close()
}

// place is a connection that gives its place back when it is closed.
type place struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (p *place) Close() error {
	defer p.leave()
	return p.Conn.Close()
}
