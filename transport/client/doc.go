// Package client speaks the client protocol over a net.Conn: it answers the handshake, frames requests and cuts responses.
// It serves the demonstration client, benchmarks and tests with thousands of connections, and is small enough to be read as
// the protocol's second implementation.
//
//	Dial --> handshake --> Send, Send, Flush ==> server
//	                       Next <== frames <==== server
//
// Promises:
//   - One goroutine may send while another receives; automatic heartbeats use no goroutine while they wait.
//   - Send only buffers; Flush is one write. Next returns frames in place, valid until the next call.
//   - The handshake obeys the context given to Dial.
//   - No allocation per request or frame once the buffers have grown.
//
// Start reading at Dial.
package client
