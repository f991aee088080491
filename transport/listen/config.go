package listen

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"sluice/transport"
	"sluice/transport/wire"
)

// Defaults for zero fields of Config.
const (
	DefaultReaders          = 1
	DefaultReadBuffer       = 64 << 10
	DefaultBacklog          = 1024
	DefaultMaxHandshakes    = 1024
	DefaultHandshakeTimeout = 5 * time.Second
	DefaultIdleTimeout      = 30 * time.Second
	DefaultCloseTimeout     = 5 * time.Second
	DefaultAddressTable     = 4096
	DefaultSpare            = 16
	DefaultSocketMode       = os.FileMode(0o660)
	maxReaders              = 64
	maxEndpoints            = 255
)

// Endpoint is one address to listen on.
type Endpoint struct {
	Network string // "tcp" or "unix"
	Address string // "host:port", or the path of a unix-domain socket ("@name" for an abstract one)
	Name    string // for Conn.Listener and logs; default Network + " " + Address

	// Open turns authentication off: every client that can reach the address gets OpenRole. It is
	// allowed on loopback addresses and unix sockets, and elsewhere only with ForceOpen.
	Open      bool
	OpenRole  Role // default Trader
	ForceOpen bool

	TLS bool // clients speak TLS, with Config.TLS; network "tcp" only

	Mode os.FileMode // permissions of a unix-domain socket, default DefaultSocketMode

	// Socket, if set, is a socket of the caller that listens already, as net.Listen returns it, and
	// stays the caller's: the server accepts from a duplicate, and removes no file. So servers can
	// follow one another at an address, or share it, while clients wait in its backlog. Network and
	// Address become those of the socket; Backlog and Mode have no effect.
	Socket net.Listener
}

// String returns the endpoint's name, or the default for one.
func (e *Endpoint) String() string {
	switch {
	case e.Name != "":
		return e.Name
	case e.Socket != nil:
		return e.Socket.Addr().Network() + " " + e.Socket.Addr().String()
	}
	return e.Network + " " + e.Address
}

// Announce is what ServerReady reports to a client beside the limits of the listener.
type Announce struct {
	Name        string        // of the server, at most 255 bytes
	MaxResponse int           // largest length of a response in bytes, at most and by default wire.MaxResponse
	Window      int           // requests that may be under way; 0: no limit
	Heartbeat   time.Duration // interval of heartbeats unless the client wants another; 0: none
}

// Limits of the interval of heartbeats that a client may want. A wish outside is moved to the
// nearer limit.
const (
	MinHeartbeat = 100 * time.Millisecond
	MaxHeartbeat = 30 * time.Second
)

// Rate is a token-bucket limit. The zero value means no limit.
type Rate struct {
	PerSecond float64 // sustained rate
	Burst     int     // bucket size, at least 1
}

// Sockets are the options of the sockets.
type Sockets struct {
	Backlog    int    // of listen(2)
	Congestion string // TCP_CONGESTION of tcp(7), for example "cubic"; empty: system default
	SendBuffer int    // SO_SNDBUF of socket(7) in bytes; 0: system default
}

// Config is the configuration of a Server. Zero fields take the defaults.
type Config struct {
	Endpoints []Endpoint
	Keys      *Keyring // may be nil only if every endpoint is Open

	// TLS is the certificate of the endpoints with TLS, as secure.Files.Load returns it; SetTLS replaces it.
	TLS *tls.Config

	Readers    int // reader goroutines, 1..64
	ReadBuffer int // bytes per read(2), raised to hold two requests
	Sockets

	MaxRequest       int           // limit on the length of a request, in bytes
	MaxHandshakes    int           // concurrent handshakes, over all readers
	HandshakeTimeout time.Duration // for the whole handshake
	IdleTimeout      time.Duration // a client that is silent for this long is disconnected
	CloseTimeout     time.Duration // how long Close waits for calls of the handler to return

	RequestRate  Rate // per connection; excess requests are shed
	ConnectRate  Rate // per IPv4 address or IPv6 /64; excess connections are closed at once
	AddressTable int  // number of addresses tracked for ConnectRate

	// Spare is how many of the descriptors that the process may have (RLIMIT_NOFILE) are kept for
	// others than clients: for all that the process opens after Listen, at the same time.
	// Accepting pauses instead of using them. Listen fails if none is left for a client.
	Spare int

	Announce   Announce   // what ServerReady reports beside the limits above
	RetryAfter RetryAfter // in the Close of a rejected client

	// Direct, if set, reports whether clients are directed to another server now, and its address;
	// an empty one if it is not known. Such a client does the handshake, keys included, and is told
	// in ServerReady that this node does not lead; Close with the address follows. Its requests are
	// not read, and the Handler is not called. Connections that the handler owns are not affected.
	// Called for each client, by reader and acceptor goroutines; it must not block.
	Direct func() (address string, direct bool)

	// Wait, if set, reports that new clients are to stay in the backlog for the moment, because another
	// Server is about to accept from the same sockets (Hold). Called by acceptor goroutines, once a
	// millisecond while it reports so; it must not block.
	Wait func() bool

	// NextID returns the id of a new connection, which must not be 0 or in use. It is called by any
	// reader goroutine. Default: 1, 2, 3, ...
	NextID func() uint64
	// Reserve takes a permit for a connection whose handshake succeeded, and returns 0, or the reason
	// why the client is rejected, such as ReasonConnectionLimit. It is called before the client is
	// admitted, by any reader goroutine, and must not block or use the descriptor. Once Handler.Connect
	// accepted the connection, the handler returns the permit; before that, the listener calls Release.
	// Both nil: no limit.
	Reserve func(Conn) transport.Reason
	Release func(Conn)
	// Refused, if set, is called for every connection that ended before Connect accepted it. It is
	// called by reader and acceptor goroutines and must not block.
	Refused func(c Conn, reason transport.Reason)
	// Exhausted, if set, is called when an endpoint stops accepting because descriptors or memory ran
	// out. It goes on by itself, and clients wait in the backlog. Called by acceptor goroutines; it
	// must not block or open anything.
	Exhausted func(endpoint string, cause error)
	// Fatal, if set, is called with the panic or kernel error that ended a reader or an acceptor;
	// the error names the goroutine. The server must then be closed. If nil, that goroutine panics.
	Fatal func(err error)
}

// withDefaults returns the configuration with defaults for its zero fields.
func (c Config) withDefaults() Config {
	orInt := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	orDuration := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	orInt(&c.Readers, DefaultReaders)
	orInt(&c.ReadBuffer, DefaultReadBuffer)
	orInt(&c.Backlog, DefaultBacklog)
	orInt(&c.MaxRequest, wire.DefaultMaxRequest)
	orInt(&c.MaxHandshakes, DefaultMaxHandshakes)
	orInt(&c.AddressTable, DefaultAddressTable)
	orInt(&c.Spare, DefaultSpare)
	orDuration(&c.HandshakeTimeout, DefaultHandshakeTimeout)
	orDuration(&c.IdleTimeout, DefaultIdleTimeout)
	orDuration(&c.CloseTimeout, DefaultCloseTimeout)
	c.ReadBuffer = max(c.ReadBuffer, 2*(wire.PrefixSize+c.MaxRequest), 2*wire.MaxHandshake)
	orInt(&c.Announce.MaxResponse, wire.MaxResponse)
	c.RetryAfter = c.RetryAfter.withDefaults()
	c.Endpoints = append([]Endpoint(nil), c.Endpoints...)
	for i := range c.Endpoints {
		e := &c.Endpoints[i]
		if e.Socket != nil {
			e.Network, e.Address = e.Socket.Addr().Network(), e.Socket.Addr().String()
		}
		e.Name = e.String()
		if e.OpenRole == 0 {
			e.OpenRole = Trader
		}
		if e.Mode == 0 {
			e.Mode = DefaultSocketMode
		}
	}
	return c
}

// validate checks a configuration in which the defaults are filled in.
func (c *Config) validate() error {
	if len(c.Endpoints) == 0 || len(c.Endpoints) > maxEndpoints {
		return fmt.Errorf("listen: %d endpoints: want 1..%d", len(c.Endpoints), maxEndpoints)
	}
	if (c.Reserve == nil) != (c.Release == nil) {
		return errors.New("listen: Reserve and Release belong together: set both or neither")
	}
	ranges := []struct {
		name     string
		value    int64
		min, max int64
	}{
		{"Readers", int64(c.Readers), 1, maxReaders},
		{"ReadBuffer", int64(c.ReadBuffer), 1, 16 << 20},
		{"Backlog", int64(c.Backlog), 1, 1 << 20},
		{"SendBuffer", int64(c.SendBuffer), 0, 1 << 30},
		{"MaxRequest", int64(c.MaxRequest), wire.RequestHeaderSize, 1 << 20},
		{"MaxHandshakes", int64(c.MaxHandshakes), 1, 1 << 20},
		{"AddressTable", int64(c.AddressTable), 1, 1 << 20},
		{"Spare", int64(c.Spare), 1, 1 << 20},
		{"Announce.MaxResponse", int64(c.Announce.MaxResponse), 1, wire.MaxResponse},
		{"Announce.Window", int64(c.Announce.Window), 0, 1 << 31},
		{"Announce.Heartbeat", int64(c.Announce.Heartbeat), 0, int64(24 * time.Hour)},
		{"length of Announce.Name", int64(len(c.Announce.Name)), 0, 255},
		{"HandshakeTimeout", int64(c.HandshakeTimeout), 1, int64(time.Hour)},
		{"IdleTimeout", int64(c.IdleTimeout), 1, int64(365 * 24 * time.Hour)},
		{"CloseTimeout", int64(c.CloseTimeout), 1, int64(time.Hour)},
	}
	for _, r := range ranges {
		if r.value < r.min || r.value > r.max {
			return fmt.Errorf("listen: %s is %d: want %d..%d", r.name, r.value, r.min, r.max)
		}
	}
	for name, rate := range map[string]Rate{"RequestRate": c.RequestRate,
		"ConnectRate": c.ConnectRate} {
		if err := rate.Validate(); err != nil {
			return fmt.Errorf("listen: %s: %w", name, err)
		}
	}
	for i := range c.Endpoints {
		if err := c.Endpoints[i].validate(c.Keys != nil); err != nil {
			return err
		}
		if e := &c.Endpoints[i]; e.TLS && (c.TLS == nil || e.Network != "tcp") {
			return fmt.Errorf("listen: %s is an endpoint with TLS: it needs Config.TLS and the network tcp",
				e.Name)
		}
	}
	return nil
}

// validate rejects an endpoint that cannot work, or that is open to other machines without
// ForceOpen.
func (e *Endpoint) validate(haveKeys bool) error {
	if e.OpenRole < Readonly || e.OpenRole > Operator {
		return fmt.Errorf("listen: %s: OpenRole is %d: want Readonly, Trader or Operator", e.Name,
			e.OpenRole)
	}
	if !e.Open && !haveKeys {
		return fmt.Errorf("listen: %s requires authentication, but there are no authorized keys: "+
			"configure an authorized-keys file, or open the endpoint (loopback and unix sockets "+
			"only)", e.Name)
	}
	switch e.Network {
	case "unix":
		return CheckSocketPath(e.Address)
	case "tcp":
	default:
		return fmt.Errorf("listen: network %q of address %q: want tcp or unix", e.Network, e.Address)
	}
	address, err := net.ResolveTCPAddr("tcp", e.Address)
	if err != nil {
		return fmt.Errorf("listen: address %q: %w", e.Address, err)
	}
	if e.Open && !e.ForceOpen && !address.IP.IsLoopback() {
		return fmt.Errorf("listen: %s is open without authentication, and %q is not a loopback "+
			"address: configure authorized keys, listen on 127.0.0.1, [::1] or a unix socket, "+
			"or force it (ForceOpen)",
			e.Name, e.Address)
	}
	return nil
}

// RetryAfter is how long a rejected client is asked to wait before it connects again, by the reason
// in its Close. Zero fields take the default, 1 s for most; a negative field means never. Clients with a
// wrong key, or with another protocol, are always asked not to come back by themselves.
type RetryAfter struct {
	Shutdown         time.Duration // the server ends
	Limit            time.Duration // no room: connections, handshakes or rate of the address
	HandshakeTimeout time.Duration // the handshake was not done in time
	Internal         time.Duration // the server could not serve the client
	NotLeader        time.Duration // Config.Direct; default 100 ms
}

func (r RetryAfter) withDefaults() RetryAfter {
	if r.NotLeader == 0 {
		r.NotLeader = 100 * time.Millisecond
	}
	for _, field := range []*time.Duration{&r.Shutdown, &r.Limit, &r.HandshakeTimeout, &r.Internal} {
		if *field == 0 {
			*field = time.Second
		}
	}
	return r
}

// MaxSocketPath is the longest path of a unix-domain socket in bytes: sun_path of unix(7) without
// its final zero.
const MaxSocketPath = 107

// CheckSocketPath reports why a path cannot be used for a unix-domain socket. "@name" is an
// abstract socket.
func CheckSocketPath(path string) error {
	if path == "" || path == "@" || len(path) > MaxSocketPath {
		return fmt.Errorf("listen: unix socket path %q has %d bytes; it needs a name, "+
			"and at most %d bytes", path, len(path), MaxSocketPath)
	}
	return nil
}
