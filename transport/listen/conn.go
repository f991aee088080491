package listen

import (
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"time"

	"sluice/transport/secure"
)

// NoUID is the UID of a connection that is not over a unix-domain socket.
const NoUID = math.MaxUint32

// Fingerprint is the first 8 bytes of the SHA-256 of a client's public key, enough to identify a
// key in a log. It is zero for a connection without authentication.
type Fingerprint [8]byte

// String is the fingerprint in hexadecimal, or "-" for none.
func (f Fingerprint) String() string {
	if f == (Fingerprint{}) {
		return "-"
	}
	return hex.EncodeToString(f[:])
}

// Conn describes one connection. It is a value that does not change while the connection lives, and
// a copy without Secure keeps no resource alive.
type Conn struct {
	ID       uint64         // from Config.NextID; 0 in Config.Refused if the handshake failed
	FD       int32          // socket; Handler says which goroutine may use it and when
	UID      uint32         // user of the peer process, from SO_PEERCRED (unix(7)); NoUID on TCP
	Role     Role           // role of the key; OpenRole of the endpoint without authentication
	Key      Fingerprint    // fingerprint of the public key; zero without authentication
	Remote   netip.AddrPort // peer address; invalid for a unix-domain socket
	Listener string         // Name of the endpoint

	// Heartbeat is the interval at which this client wants heartbeats: 0, or from MinHeartbeat to
	// MaxHeartbeat. 0 means Config.Announce.Heartbeat.
	Heartbeat time.Duration

	// Secure is the TLS of the connection, in calls of Handler.Connect and Config.Reserve, and of
	// Config.Refused if the TLS handshake has failed; nil for a plain connection. The shard encrypts with it.
	Secure *secure.Session
}

// String describes the connection in the terms in which an operator would search for it.
func (c Conn) String() string {
	if c.UID != NoUID {
		return fmt.Sprintf("connection %d on %s (uid %d, %v, key %v)", c.ID, c.Listener, c.UID,
			c.Role, c.Key)
	}
	return fmt.Sprintf("connection %d on %s (%v, %v, key %v)", c.ID, c.Listener, c.Remote, c.Role,
		c.Key)
}
