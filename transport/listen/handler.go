package listen

import (
	"errors"

	"sluice/transport"
	"sluice/transport/wire"
)

// ErrBusy is returned by Handler.Request if there is no room for the request now.
var ErrBusy = errors.New("listen: no room for the request")

// Handler receives what the readers read. All calls for one connection come from one reader
// goroutine, one after another. With several readers, calls for different connections are
// concurrent.
//
// Which side may use a socket:
//
//	reader                          handler (the connection's shard)
//	accept, handshake               -
//	Connect(c) ------------------>  owns writing and closing c.FD once Connect returned nil
//	read, Request(c, r) ...         write; to end the connection: shutdown(2), never close(2)
//	removes it from epoll
//	Disconnect(c) --------------->  may close c.FD from now on
//	never uses c.FD again
//
// The descriptor is closed only after the reader released it. So its number cannot be given to a
// new connection while the reader still uses it.
type Handler interface {
	// Connect hands a connection over. It returns once the shard owns it; only then are requests
	// read. It may block, which delays the other connections of this reader. After an error, the
	// connection still belongs to the listener, which closes it and returns the permit; no other
	// method is called for it.
	Connect(c Conn) error

	// Request delivers one request. It must not wait for room: with ErrBusy itself, the request was not
	// taken, and the reader pauses this connection alone until Server.Resume. That is the
	// back-pressure, and the client observes it as a full socket. r.Body is valid only during the
	// call. Any other error ends the connection with ReasonRequestFailed.
	Request(c Conn, r wire.Request) error

	// Shed reports requests that were not delivered because the connection is above its request
	// rate: their request_seqs, from 1 to 64, in the order in which they came. The slice is valid
	// only during the call. Requests that were delivered before these were delivered earlier. While
	// it runs, the other connections of this reader wait.
	Shed(c Conn, requests []uint64)

	// Disconnect is called exactly once for each connection that Connect accepted, after its socket
	// was removed from epoll. requests is the number of Request calls that returned nil, which is
	// the number of responses that the client is owed.
	Disconnect(c Conn, requests uint64, reason transport.Reason)
}
