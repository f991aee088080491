// Package listen accepts client connections and reads their requests. It listens on TCP and
// unix-domain sockets, does the handshake with each client, cuts its stream into requests and hands
// them to a Handler. It writes only during the handshake: from Connect on, the connection's shard
// owns writing and closing.
//
//	clients ==> acceptor (one per endpoint) --inbox--> reader 0 --Connect, Request, Disconnect--> Handler
//	                                        \--inbox--> reader 1 --------------------------------/
//
//	            reader: one goroutine, one epoll(7) inside Go's poller, one read buffer, a table of 96-byte records
//
// Promises:
//   - No goroutine per connection. An idle connection occupies one record without pointers. A
//     buffer is held only while a frame is incomplete, and is then smaller than a frame, or while it is paused:
//     then it has what was read at once.
//   - A reader never blocks a thread in a system call. If the handler has no room for a request, its
//     connection alone is paused. Other connections, handshakes and ends are handled as before.
//   - The whole handshake has one deadline, which bytes from the peer do not extend. While all
//     places for handshakes are taken, the deadline is shorter.
//   - A client that is rejected receives Close with the reason, if it reads.
//   - A node that does not lead its cluster does the handshake, says where the leader is, and reads no
//     request. Servers that follow one another at a socket refuse no connection meanwhile.
//   - A deadline is kept on a server where nothing else happens, too.
//   - Requests before a malformed frame are delivered; nothing behind it is.
//   - Disconnect is called exactly once for each connection that Connect accepted, after its socket
//     was removed from epoll.
//   - When descriptors run out, accepting pauses. Established connections are served as before, and
//     new clients wait in the backlog.
//   - An endpoint without authentication on an address that is not local is rejected before any
//     socket is bound.
//
// Start reading at Handler, which says which goroutine may use a socket and when; then Config,
// Server and reader. The protocol is specified in docs/wire.md. The choice of epoll, with
// measurements, is in docs/decisions/0005-readers-on-epoll.md.
package listen
