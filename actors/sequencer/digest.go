package sequencer

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"sluice/encode"
)

// digest is a running hash of all outputs of journaled events, in order: the connection and the
// encoded frame of each report. So it shows what clients were sent, including those that were gone.
// Frames are gathered and hashed many at a time.
type digest struct {
	sum      xxhash.Digest // of what was flushed
	outputs  uint64
	gathered []byte
}

const (
	digestConn   = 8 // bytes of the connection in front of a frame
	digestGather = 4 << 10
)

func newDigest() (d digest) {
	d.sum.Reset()
	return d
}

// flush hashes what was gathered.
func (d *digest) flush() {
	_, _ = d.sum.Write(d.gathered) // never fails
	d.gathered = d.gathered[:0]
}

// hasher adds reports to a digest. It belongs to the sequencer's goroutine.
type hasher[R, Q any] struct {
	*digest
	encoder encode.Encoder[R, Q]
	most    int // bytes that a report takes in gathered
}

// newHasher makes a hasher for frames of at most maxFrame bytes; larger ones allocate.
func newHasher[R, Q any](d *digest, e encode.Encoder[R, Q], maxFrame int) hasher[R, Q] {
	d.flush() // what the hasher before this one gathered
	most := digestConn + max(maxFrame, 0)
	d.gathered = make([]byte, 0, max(digestGather, most))
	return hasher[R, Q]{digest: d, encoder: e, most: most}
}

// add adds a report. One that cannot be encoded counts with its connection alone, and so does one
// whose encoding panics, which the caller recovers.
func (h *hasher[R, Q]) add(conn uint64, report *R) {
	at := len(h.gathered)
	if cap(h.gathered)-at < h.most {
		h.flush()
		at = 0
	}
	h.outputs++
	b := h.gathered[: at+digestConn : cap(h.gathered)]
	binary.LittleEndian.PutUint64(b[at:], conn)
	h.gathered = b
	room := b[at+digestConn : at+digestConn : at+h.most]
	frame, err := h.encoder.AppendReport(room, report)
	switch n := len(frame); {
	case err != nil || n == 0:
	case n <= cap(room) && &frame[0] == &room[:1][0]:
		h.gathered = b[:at+digestConn+n]
	default: // it had no room
		h.flush()
		_, _ = h.sum.Write(frame)
	}
}
