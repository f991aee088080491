package listen

import (
	"sluice/transport"
	"sluice/transport/wire"
)

// Handler receives what the readers read. All calls for one connection come from one reader goroutine, one after the
// other; with several readers different connections call at the same time.
//
// Who may touch a socket:
//
//	reader                          handler (the connection's shard)
//	accept, handshake               -
//	Connect(c) ------------------>  owns writing and closing c.FD once Connect returned nil
//	read, Request(c, r) ...         write; to be rid of the client: shutdown(2), never close(2)
//	leaves epoll
//	Disconnect(c) --------------->  may close c.FD from now on
//	never touches c.FD again
//
// Because the descriptor is closed only after the reader let go of it, its number cannot be given to a new connection
// while the reader still uses it.
type Handler interface {
	// Connect hands a connection over. It returns once the shard owns it; only then are requests read. It may block, which
	// delays the other connections of this reader. On an error the connection stays the listener's, which closes it and
	// gives the permit back; no other method is called for it.
	Connect(c Conn) error

	// Request delivers one request. It may block until there is room: that is the back-pressure, and the client feels it as
	// a full socket. r.Body is valid only during the call. An error ends the connection with ReasonRequestFailed.
	Request(c Conn, r wire.Request) error

	// Shed reports that the last n requests, at most one read's, were not delivered because the connection is above its request
	// rate. It delays the other connections of this reader as long as it takes.
	Shed(c Conn, n int)

	// Disconnect is called exactly once for each connection that Connect took, after its socket left epoll. requests is
	// the number of Request calls that returned nil, which is the number of answers the client is still entitled to.
	Disconnect(c Conn, requests uint64, reason transport.Reason)
}
