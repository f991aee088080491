// Package client speaks the client protocol over a net.Conn: it does the handshake, frames requests
// and decodes responses, whatever the application. The client of `sluice`, the benchmarks and tests
// with thousands of connections use it. It is small enough to serve as a second implementation to
// read the protocol from.
//
//	Dial --> handshake --> Send, Send, Flush ==> server
//	                       Next <== frames <==== server
//
// Promises:
//   - One goroutine may send while another receives. Automatic heartbeats need no goroutine while
//     they wait.
//   - Send only buffers; Flush is one write. Next returns frames in place; they are valid until the
//     next call.
//   - The handshake ends with the context given to Dial.
//   - No allocation per request or frame once the buffers have grown.
//
// Start reading at Dial.
package client
