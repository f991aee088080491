package wire

import "encoding/binary"

// AppendAdminResponse appends the frame that carries the result of an AdminCommand.
func AppendAdminResponse(dst []byte, request uint64, result []byte) []byte {
	dst = appendResponseHeader(dst, TagAdminResponse, 8+len(result))
	dst = binary.LittleEndian.AppendUint64(dst, request)
	return append(dst, result...)
}

// DecodeAdminResponse splits the body of an AdminResponse; ok is false if it is too short. result
// points into body.
func DecodeAdminResponse(body []byte) (request uint64, result []byte, ok bool) {
	if request, ok = decodeNumber(body); !ok {
		return 0, nil, false
	}
	return request, body[8:len(body):len(body)], true
}
