package listen

import (
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
)

// NoUID is the UID of a connection that did not come over a unix-domain socket.
const NoUID = math.MaxUint32

// Fingerprint is the first 8 bytes of the SHA-256 of a client's public key: enough to name a key in a log, zero for a
// connection that was not asked for one.
type Fingerprint [8]byte

// String is the fingerprint in hexadecimal, or "-" for none.
func (f Fingerprint) String() string {
	if f == (Fingerprint{}) {
		return "-"
	}
	return hex.EncodeToString(f[:])
}

// Conn describes one connection. It is a value: nothing in it changes while the connection lives, and a copy keeps no
// resource alive.
type Conn struct {
	ID       uint64         // from Config.NextID, never 0 once Handler.Connect sees it; 0 in a refusal
	FD       int32          // the socket; who may use it when is said at Handler
	UID      uint32         // of the peer process, by SO_PEERCRED (unix(7)); NoUID on TCP
	Role     Role           // what the key may do; the endpoint's OpenRole without authentication
	Key      Fingerprint    // of the public key; zero without authentication
	Remote   netip.AddrPort // invalid for a unix-domain socket
	Listener string         // the endpoint's Name
}

// String names the connection as an operator would look for it.
func (c Conn) String() string {
	if c.UID != NoUID {
		return fmt.Sprintf("connection %d on %s (uid %d, %v, key %v)", c.ID, c.Listener, c.UID, c.Role, c.Key)
	}
	return fmt.Sprintf("connection %d on %s (%v, %v, key %v)", c.ID, c.Listener, c.Remote, c.Role, c.Key)
}
