package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"unicode/utf8"

	"sluice/encode"
)

// Opcodes of RFC 6455, 5.2.
const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xA
)

// Status codes of RFC 6455, 7.4.1.
const (
	statusNormal   = 1000
	statusGoing    = 1001
	statusProtocol = 1002
	statusPolicy   = 1008
	statusInternal = 1011
)

const (
	maxHeader  = 4   // bytes before the payload of a frame that is sent
	maxMessage = 512 // bytes of a message that a client sends
	maxControl = 125 // bytes of a ping or close that a client sends
)

var errProtocol = errors.New("the client broke the protocol")

// appendFrame appends a frame of a server, of at most 65,535 bytes.
func appendFrame(dst []byte, opcode byte, payload string) []byte {
	dst = append(dst, 0x80|opcode)
	if len(payload) < 126 {
		dst = append(dst, byte(len(payload)))
	} else {
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(len(payload)))
	}
	return append(dst, payload...)
}

// appendClose appends a close frame.
func appendClose(dst []byte, status uint16) []byte {
	return binary.BigEndian.AppendUint16(append(dst, 0x80|opClose, 2), status)
}

// statusOf is the status code of a reason.
func statusOf(reason encode.CloseReason) uint16 {
	switch reason {
	case encode.CloseShutdown:
		return statusGoing
	case encode.CloseProtocol:
		return statusProtocol
	case encode.CloseInternal:
		return statusInternal
	}
	return statusPolicy
}

// readFrame reads a frame of a client. A browser splits no message this short into several frames.
func readFrame(in *bufio.Reader) (opcode byte, payload string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, "", err
	}
	opcode, size := head[0]&0x0F, int(head[1]&0x7F)
	switch size {
	case 126:
		var long [2]byte
		if _, err := io.ReadFull(in, long[:]); err != nil {
			return 0, "", err
		}
		size = int(binary.BigEndian.Uint16(long[:]))
	case 127: // a size of eight bytes
		size = math.MaxInt
	}
	final, masked, most := head[0]&0xF0 == 0x80, head[1]&0x80 != 0, maxMessage
	if opcode >= opClose {
		most = maxControl
	}
	if !final || !masked || size > most {
		return 0, "", fmt.Errorf("%w: final %t, masked %t, %d bytes", errProtocol, final, masked, size)
	}
	frame := make([]byte, 4+size)
	if _, err := io.ReadFull(in, frame); err != nil {
		return 0, "", err
	}
	mask, text := frame[:4], frame[4:]
	for i := range text {
		text[i] ^= mask[i%4]
	}
	if opcode == opText && !utf8.Valid(text) {
		return 0, "", fmt.Errorf("%w: a text is not UTF-8", errProtocol)
	}
	return opcode, string(text), nil
}
