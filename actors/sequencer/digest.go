package sequencer

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"sluice/encode"
)

// digest is a running hash of all outputs of journaled events, in order: the connection and the
// encoded frame of each report. So it shows what clients were sent, including those that were gone.
type digest struct {
	sum     xxhash.Digest
	outputs uint64
}

func newDigest() (d digest) {
	d.sum.Reset()
	return d
}

// hasher adds reports to a digest. It belongs to the sequencer's goroutine.
type hasher[R, Q any] struct {
	*digest
	encoder encode.Encoder[R, Q]
	buffer  []byte // connection and frame
}

const digestConn = 8 // bytes of the connection in front of a frame

// newHasher makes a hasher for frames of at most maxFrame bytes; larger ones allocate.
func newHasher[R, Q any](d *digest, e encode.Encoder[R, Q], maxFrame int) hasher[R, Q] {
	return hasher[R, Q]{digest: d, encoder: e, buffer: make([]byte, digestConn+max(maxFrame, 0))}
}

// add adds a report. One that cannot be encoded counts with its connection alone. The caller
// recovers a panic of the encoder, and the report then counts in the same way.
func (h *hasher[R, Q]) add(conn uint64, report *R) {
	h.outputs++
	b := h.buffer
	binary.LittleEndian.PutUint64(b, conn)
	frame, err := h.encoder.AppendReport(b[digestConn:digestConn], report)
	switch {
	case err != nil:
		_, _ = h.sum.Write(b[:digestConn]) // never fails
	case len(frame) <= len(b)-digestConn && len(frame) > 0 && &frame[0] == &b[digestConn]:
		_, _ = h.sum.Write(b[:digestConn+len(frame)])
	default: // it was too large for the buffer
		_, _ = h.sum.Write(b[:digestConn])
		_, _ = h.sum.Write(frame)
	}
}

// panicked adds a report whose encoding panicked.
func (h *hasher[R, Q]) panicked() { _, _ = h.sum.Write(h.buffer[:digestConn]) }
