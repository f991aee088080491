// Package listen takes client connections in and reads their requests. It accepts on TCP and unix-domain sockets, brings
// each client through the handshake, cuts its stream into requests and hands them to a Handler. It writes nothing but the
// handshake: from Connect on, the connection's shard owns writing and closing.
//
//	clients ==> acceptor (one per endpoint) --inbox--> reader 0 --Connect, Request, Disconnect--> Handler
//	                                        \--inbox--> reader 1 --------------------------------/
//
//	            reader: one goroutine, one epoll(7) inside Go's poller, one read buffer, a table of 88-byte records
//
// Promises:
//   - No goroutine per connection. An idle connection takes one record without pointers; only one in the middle of a frame
//     holds a buffer, never longer than a frame.
//   - A reader never blocks a processor in a system call; it may block in Handler.Request, which is the back-pressure.
//   - The whole handshake has one deadline. A peer that drips bytes does not move it, and loses its place early when others
//     wait for it.
//   - Disconnect comes exactly once for each connection that Connect took, after its socket left epoll.
//   - Running out of descriptors pauses accepting; connections that are there go on, and clients wait in the backlog.
//   - An endpoint without authentication on an address that is not local is refused before anything is bound.
//
// Start reading at Handler (who may touch a socket), then Config, Server and reader. The bytes are those of docs/wire.md;
// the choice of epoll and its numbers are in docs/decisions/0005-readers-on-epoll.md.
package listen
