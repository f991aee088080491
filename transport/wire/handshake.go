package wire

import (
	"encoding/binary"
	"math"
	"time"
)

// Version is the version of the protocol that this package implements.
const Version uint8 = 1

// HandshakeContext stands before the nonce in the message that a client signs, so that a signature
// made for another purpose is never valid here.
const HandshakeContext = "sluice client handshake v1\x00"

// Signed is the message that a client signs: the context, then the server's nonce, then the channel binding of
// the TLS connection. On a plain connection there is none, and the message has 59 bytes.
func Signed(nonce *[NonceSize]byte, binding []byte) []byte {
	message := append([]byte(HandshakeContext), nonce[:]...)
	return append(message, binding...)
}

// Challenge is the first frame of a connection. The server sends it.
type Challenge struct {
	Nonce [NonceSize]byte // random, used once
	Sign  bool            // the client must sign; otherwise a signature is not looked at
}

// AppendChallenge appends a Challenge.
func AppendChallenge(dst []byte, c *Challenge) []byte {
	dst = appendResponseHeader(dst, TagChallenge, NonceSize+1)
	dst = append(dst, c.Nonce[:]...)
	return append(dst, flag(c.Sign))
}

// DecodeChallenge decodes the body of a Challenge; ok is false if it is too short.
func DecodeChallenge(body []byte) (c Challenge, ok bool) {
	if len(body) < NonceSize+1 {
		return Challenge{}, false
	}
	return Challenge{Nonce: [NonceSize]byte(body), Sign: body[NonceSize]&1 != 0}, true
}

// Hello is the client's only frame of the handshake.
type Hello struct {
	Version   uint8         // the highest that the client speaks, at least 1
	Heartbeat time.Duration // interval of the server's heartbeats that the client wants; 0: the server's; whole ms
	Signature []byte        // SignatureSize bytes over Signed(nonce); nil: not signed
	Key       []byte        // PublicKeySize bytes; nil: not signed

	// Extensions are entries of a type (u8), a length (u16) and as many bytes. An entry of an
	// unknown type is ignored. Version 1 knows no type yet.
	Extensions []byte
}

// AppendHello appends a Hello, with request_seq 0. A Signature or Key of the wrong size panics.
func AppendHello(dst []byte, h *Hello) []byte {
	signed := h.Signature != nil
	if signed && (len(h.Signature) != SignatureSize || len(h.Key) != PublicKeySize) {
		panic("wire: signature or key of a Hello has the wrong size")
	}
	size := helloSize + len(h.Signature) + len(h.Key) + len(h.Extensions)
	dst = appendRequestHeader(dst, 0, TagHello, size)
	dst = append(dst, h.Version, flag(signed))
	dst = binary.LittleEndian.AppendUint32(dst, millis(h.Heartbeat))
	dst = append(dst, h.Signature...)
	dst = append(dst, h.Key...)
	return append(dst, h.Extensions...)
}

// helloSize is the size of a Hello's body without signature, key and extensions.
const helloSize = 6

// DecodeHello decodes the body of a Hello; ok is false if it is too short, has version 0 or ends
// within an extension. The slices point into body.
func DecodeHello(body []byte) (h Hello, ok bool) {
	if len(body) < helloSize || body[0] == 0 {
		return Hello{}, false
	}
	h.Version, h.Heartbeat = body[0], fromMillis(binary.LittleEndian.Uint32(body[2:]))
	rest := body[helloSize:len(body):len(body)]
	if body[1]&1 != 0 {
		const end = SignatureSize + PublicKeySize
		if len(rest) < end {
			return Hello{}, false
		}
		h.Signature, h.Key = rest[:SignatureSize:SignatureSize], rest[SignatureSize:end:end]
		rest = rest[end:]
	}
	h.Extensions = rest
	for len(rest) > 0 {
		if len(rest) < 3 || len(rest)-3 < int(binary.LittleEndian.Uint16(rest[1:])) {
			return Hello{}, false
		}
		rest = rest[3+int(binary.LittleEndian.Uint16(rest[1:])):]
	}
	return h, true
}

// ServerReady ends the handshake: the client is admitted, under these limits.
type ServerReady struct {
	Version     uint8         // spoken on this connection, at most that of Hello
	Leads       bool          // this node leads its cluster; a single node does
	Conn        uint64        // id of the connection, as operators see it
	MaxRequest  uint32        // largest length of a request, in bytes after the prefix
	MaxResponse uint32        // largest length of a response, in bytes after the prefix
	Window      uint32        // requests that may be under way; 0: no limit
	Rate        uint32        // requests a second, rounded up; 0: no limit
	Burst       uint32        // requests that may be sent at once; 0: no limit
	Heartbeat   time.Duration // interval of the server's heartbeats; 0: none; whole ms
	Silence     time.Duration // a client that is silent for that long is closed; whole ms
	Name        string        // of the server, at most 255 bytes; may be empty
}

// serverReadySize is the size of a ServerReady's body without the name.
const serverReadySize = 2 + 8 + 7*4 + 1 // 39

// AppendServerReady appends a ServerReady. A longer Name is cut to 255 bytes.
func AppendServerReady(dst []byte, s *ServerReady) []byte {
	name := s.Name[:min(len(s.Name), math.MaxUint8)]
	dst = appendResponseHeader(dst, TagServerReady, serverReadySize+len(name))
	dst = append(dst, s.Version, flag(s.Leads))
	dst = binary.LittleEndian.AppendUint64(dst, s.Conn)
	for _, v := range [...]uint32{s.MaxRequest, s.MaxResponse, s.Window, s.Rate, s.Burst,
		millis(s.Heartbeat), millis(s.Silence)} {
		dst = binary.LittleEndian.AppendUint32(dst, v)
	}
	dst = append(dst, uint8(len(name)))
	return append(dst, name...)
}

// DecodeServerReady decodes the body of a ServerReady; ok is false if it is too short or has
// version 0.
func DecodeServerReady(body []byte) (s ServerReady, ok bool) {
	if len(body) < serverReadySize || len(body)-serverReadySize < int(body[serverReadySize-1]) ||
		body[0] == 0 {
		return ServerReady{}, false
	}
	at := func(i int) uint32 { return binary.LittleEndian.Uint32(body[10+4*i:]) }
	return ServerReady{
		Version: body[0], Leads: body[1]&1 != 0, Conn: binary.LittleEndian.Uint64(body[2:]),
		MaxRequest: at(0), MaxResponse: at(1), Window: at(2), Rate: at(3), Burst: at(4),
		Heartbeat: fromMillis(at(5)), Silence: fromMillis(at(6)),
		Name: string(body[serverReadySize:][:body[serverReadySize-1]]),
	}, true
}

func flag(set bool) uint8 {
	if set {
		return 1
	}
	return 0
}

// millis is a duration on the wire: at least 1 ms unless it is 0 or negative, and at most about 49
// days.
func millis(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	return uint32(min(max(d/time.Millisecond, 1), math.MaxUint32))
}

func fromMillis(ms uint32) time.Duration { return time.Duration(ms) * time.Millisecond }
