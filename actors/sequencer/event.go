package sequencer

import (
	"encoding/binary"
	"fmt"
)

// EventVersion is the version byte that a journaled event begins with. A program reads the versions
// up to its own.
const EventVersion = 1

// EventHeader is the size in bytes of an event without its body.
const EventHeader = 19

// A journaled event, little-endian:
//
//	offset  size  field
//	0       1     version, 1
//	1       1     role the connection had
//	2       1     tag
//	3       8     connection id
//	11      8     request_seq of the client
//	19      ...   body, to the end of the event
//
// Its sequence number is its place in the journal and is not repeated here. Fields have fixed
// places, because the reader of a connection writes the event once, and from there on it is only
// copied.

// AppendEvent appends the journal's form of a request to dst.
func AppendEvent(dst []byte, req *Request) []byte {
	dst = append(dst, EventVersion, req.Role, req.Tag)
	dst = binary.LittleEndian.AppendUint64(dst, req.Conn)
	dst = binary.LittleEndian.AppendUint64(dst, req.Seq)
	return append(dst, req.Body...)
}

// DecodeEvent reads an event of the journal into req, every field of which is overwritten. Body
// points into event.
func DecodeEvent(event []byte, req *Request) error {
	if len(event) == 0 {
		return fmt.Errorf("sequencer: event is empty; an event has at least %d bytes", EventHeader)
	}
	if v := event[0]; v != EventVersion {
		return fmt.Errorf("sequencer: event has version %d, this program reads version %d; start "+
			"the program that wrote it, or a newer one",
			v, EventVersion)
	}
	if len(event) < EventHeader {
		return fmt.Errorf("sequencer: event has %d bytes; an event has at least %d", len(event),
			EventHeader)
	}
	req.Role, req.Tag = event[1], event[2]
	req.Conn = binary.LittleEndian.Uint64(event[3:])
	req.Seq = binary.LittleEndian.Uint64(event[11:])
	req.Body = event[EventHeader:]
	return nil
}
