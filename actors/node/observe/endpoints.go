package observe

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"sluice/transport/listen"
)

// Limits of an HTTP endpoint.
const (
	headerTimeout  = 5 * time.Second // for a request's header
	settleFor      = time.Second     // for the first request of a connection, at the end
	readTimeout    = 10 * time.Second
	writeTimeout   = 15 * time.Second
	profileTimeout = 90 * time.Second // writeTimeout where profiles are taken
	idleTimeout    = time.Minute
	maxConnections = 64       // HTTP connections at the same time
	headerBytes    = 16 << 10 // of a request's header
	bodyBytes      = 4 << 10  // of a request's body
)

const (
	// EndpointDescriptors is how many file descriptors the clients of an HTTP endpoint have at most:
	// those that are served, and one that waits.
	EndpointDescriptors = maxConnections + 1
	// OtherDescriptors is how many an observer opens at the same time beside them, at most: connections
	// of exports, lookups of their addresses, and files of flight recordings.
	OtherDescriptors = 24
)

// Listeners are the bound endpoints of a node that is not observed yet.
type Listeners struct {
	cfg  Config
	tcp  net.Listener // read-only; nil if there is none
	unix net.Listener // for commands as well; nil if there is none
	only net.Listener // serves /metrics only; nil if there is none
	tls  net.Listener // with TLS; nil if there is none

	access *access // of tls, shared by duplicates
}

// Listen checks a configuration and binds its endpoints. Requests wait in the backlog until Open,
// so a program can bind its endpoints before it opens its node, and learn in time that an address
// is taken. On an error nothing is bound.
func Listen(cfg Config) (*Listeners, error) {
	l := &Listeners{cfg: cfg.withDefaults(), access: new(access)}
	if l.cfg.DrainTimeout < 0 {
		return nil, fmt.Errorf("observe: DrainTimeout is %v; use a positive duration",
			l.cfg.DrainTimeout)
	}
	if cfg.Admin != "" {
		if err := checkAddress(cfg.Admin, cfg.Insecure); err != nil {
			return nil, err
		}
	}
	if cfg.Socket != "" {
		if err := listen.CheckSocketPath(cfg.Socket); err != nil {
			return nil, fmt.Errorf("observe: %w", err)
		}
	}
	var err error
	if cfg.Admin != "" {
		if l.tcp, err = net.Listen("tcp", cfg.Admin); err != nil {
			return nil, fmt.Errorf("observe: admin address: %w; stop what listens there, or "+
				"choose another address", err)
		}
	}
	if cfg.Socket != "" {
		if l.unix, err = listenUnix(cfg.Socket); err != nil {
			l.Close()
			return nil, err
		}
	}
	if cfg.Metrics != "" {
		if l.only, err = net.Listen("tcp", cfg.Metrics); err != nil {
			l.Close()
			return nil, fmt.Errorf("observe: metrics address: %w; stop what listens there, or "+
				"choose another address", err)
		}
	}
	if cfg.TLS != "" {
		if l.tls, err = net.Listen("tcp", cfg.TLS); err != nil {
			l.Close()
			return nil, fmt.Errorf("observe: admin address with TLS: %w; stop what listens there, or choose another "+
				"address", err)
		}
	}
	return l, nil
}

// Share returns duplicates of the endpoints, for an Observer of a node that follows another one at the
// same addresses. Close of l, once no further observer is made, removes the socket file.
func (l *Listeners) Share() (shared *Listeners, err error) {
	shared = &Listeners{cfg: l.cfg, access: l.access}
	for _, one := range []struct {
		from net.Listener
		to   *net.Listener
	}{{l.tcp, &shared.tcp}, {l.only, &shared.only}, {l.tls, &shared.tls}} {
		if one.from == nil {
			continue
		}
		if *one.to, err = duplicate(one.from); err != nil {
			shared.Close()
			return nil, err
		}
	}
	if l.unix != nil {
		d, err := duplicate(l.unix)
		if err != nil {
			shared.Close()
			return nil, err
		}
		owner := l.unix.(*ownerListener)
		shared.unix = &ownerListener{UnixListener: d.(*net.UnixListener), self: owner.self}
	}
	return shared, nil
}

// duplicate returns a duplicate of a listening socket.
func duplicate(l net.Listener) (net.Listener, error) {
	f, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return nil, fmt.Errorf("observe: admin address: %w", err)
	}
	defer f.Close()
	d, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("observe: admin address: %w", err)
	}
	if u, ok := d.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	return d, nil
}

// Address is the bound address of the Admin endpoint, empty if there is none.
func (l *Listeners) Address() string {
	if l.tcp == nil {
		return ""
	}
	return l.tcp.Addr().String()
}

// TLSAddress is the bound address of the endpoint with TLS, empty if there is none.
func (l *Listeners) TLSAddress() string {
	if l.tls == nil {
		return ""
	}
	return l.tls.Addr().String()
}

// Close closes endpoints that are not to be opened.
func (l *Listeners) Close() {
	for _, x := range []net.Listener{l.tcp, l.unix, l.only, l.tls} {
		if x != nil {
			_ = x.Close() // an error says that it is closed already
		}
	}
}

// Exposure says what other machines can see at an Admin address; empty if nothing.
func Exposure(address string) []string {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	if err != nil || strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback() {
		return nil
	}
	return []string{address + ": the admin pages show all clients to every machine that reaches it, and are not encrypted"}
}

// checkAddress rejects an address that other machines can reach.
func checkAddress(address string, insecure bool) error {
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return fmt.Errorf("observe: admin address %q: %w; write host:port, such as %s", address,
			err, DefaultAddress)
	}
	if !insecure && !at.IP.IsLoopback() {
		return fmt.Errorf("observe: admin address %q can be reached from other machines, and its "+
			"pages show all connected clients: "+
			"listen on 127.0.0.1 or [::1], or set Insecure", address)
	}
	return nil
}
