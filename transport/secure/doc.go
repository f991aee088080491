// Package secure is TLS for sockets that a reader reads and a shard writes: crypto/tls without a
// goroutine for each connection. It loads certificates, and holds the state of one connection.
//
//	reader   encrypted bytes ==> Session.Open ==> requests
//	                                  | key updates, alerts
//	                                  v
//	shard    frames =========> Session.Seal, End ==> records, in the order of their numbers ==> socket
//
// A Session begins with Handshake, which blocks, on a goroutine of its own. After that, nothing here
// waits: Open decrypts what was read, and Seal encrypts what is about to be sent.
//
// Promises:
//   - TLS 1.3 only, without resumption and without data before the end of the handshake.
//   - Records that crypto/tls writes while the reader reads are sent in front of the next record of data, so
//     their order is that in which they were encrypted.
//   - Open leaves no byte of a whole record behind, and nothing of a record that is not whole.
//   - A client that sends records without data, such as key updates, is ended at a bounded rate of them.
//   - Seal allocates nothing, Open what crypto/tls allocates: 24 bytes a record.
//
// Start reading at Session, then Files. The choice is in docs/decisions/0042-tls.md.
package secure
