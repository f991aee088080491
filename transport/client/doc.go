// Package client speaks the client protocol over a net.Conn, whatever the application. Conn does
// the handshake, frames requests and decodes responses; it is small enough to serve as a second
// implementation to read the protocol from. Session is what most programs want: it matches
// responses with requests, sends heartbeats, and connects again after a break.
//
//	Dial --> handshake --> Send, Send, Flush ==> server
//	                       Next <== frames <==== server
//
//	 Do, Send --> [ waiting ] --place--> [ out ] --> writer ==> connection ==> one of the servers
//	                                    [ pending ]                  |
//	 Call.Wait <------- Response <--- by number <--- reader <========'
//	                                                   | break
//	 Subscribe --> events, Replica <--- topics <-----'
//	                                                   |
//	 OnState <--- connecting, ready, disconnected <--- plan: address and delay of the next attempt
//
// Promises of a Conn:
//   - One goroutine may send while another receives. Automatic heartbeats need no goroutine while
//     they wait.
//   - Send only buffers; Flush is one write. Next returns frames in place; they are valid until the
//     next call.
//   - The handshake ends with the context given to Dial.
//   - No allocation per request or frame once the buffers have grown.
//
// Promises of a Session:
//   - A response reaches the request whose number it carries. A number that is not under way is a
//     protocol error, which ends the connection.
//   - A request is sent once. Its error says whether it was executed: ErrBusy, RefusedError and
//     ErrNotSent, it was not; ErrUnknownOutcome, it may have been. An orderly end of a server leaves
//     no outcome unknown.
//   - At most Window requests are under way; further ones wait, in order.
//   - A server that is dead without a reset is noticed after 3 of its heartbeats are missing.
//   - A server that says why it closes is obeyed: the session comes back when the server asks for
//     it, and never if the server does not want it back, does not know the key or found a
//     malformed frame. All other attempts are spaced by a delay that doubles up to a limit, half of
//     it random.
//   - A subscription outlives connections: it goes on behind the last frame it received, or begins with a
//     snapshot. Its function receives each frame of its topic once, in order; a hole or a repetition that
//     the protocol does not allow ends the connection with a SequenceError. Frames cost no allocation.
//   - Close ends every goroutine.
//
// ReadKey, WriteKey and GenerateKey handle files of private keys. The package builds on Linux, macOS
// and Windows.
//
// Start reading at Dial, or at Session; for topics, at Session.Subscribe and Follow.
package client
