package wire

import "encoding/binary"

// Tags of operator commands. Only clients with the role operator may use them.
const (
	TagAdminCommand uint8 = 0x09 // client, body: a command in JSON
	TagAdminAnswer  uint8 = 0x0A // server, body: request_seq of the command, then the result in JSON
)

// AppendAdminAnswer appends the frame that carries the result of an AdminCommand.
func AppendAdminAnswer(dst []byte, seq uint64, answer []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(ResponseHeaderSize+8+len(answer)))
	dst = append(dst, TagAdminAnswer)
	dst = binary.LittleEndian.AppendUint64(dst, seq)
	return append(dst, answer...)
}

// AdminAnswer splits the body of an AdminAnswer; ok is false if it is too short. answer points into
// body.
func AdminAnswer(body []byte) (seq uint64, answer []byte, ok bool) {
	if len(body) < 8 {
		return 0, nil, false
	}
	return binary.LittleEndian.Uint64(body), body[8:], true
}
