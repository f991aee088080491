package peer

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// Limits of a frame's payload in bytes, by lane. A longer frame is not sent, and ends the connection
// on which it is announced.
const (
	MaxFrame   = 64 << 20  // Append
	MaxControl = 64 << 10  // Control
	MaxBulk    = 256 << 10 // Bulk
)

const (
	headerSize = 9 // length u32, kind u8, crc32c u32
	crcAt      = 5 // the checksum covers what is before it and the payload

	bufferSize = 64 << 10 // of a reader
	// a larger buffer is released when it is empty, that of a queue after a while; a message of the log has
	// 1 MiB of entries and their headers
	keepSize = 2 << 20
)

// kind says what a frame carries. Hello and Refusal are the same in every protocol.
type kind uint8

const (
	kindHello   kind = iota + 1
	kindRefusal      // a text; the sender closes the connection
	kindData
	kindRemoved // a refusal: the other end is not a member any more
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// checksum covers length and kind of a frame, and its payload.
func checksum(header, payload []byte) uint32 {
	t := castagnoli()
	return crc32.Update(crc32.Update(0, t, header[:crcAt]), t, payload)
}

// appendFrame appends a frame without its checksum, which seal sets.
func appendFrame(dst []byte, k kind, payload []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = append(dst, byte(k), 0, 0, 0, 0)
	return append(dst, payload...)
}

// sealed returns one frame with its checksum.
func sealed(k kind, payload []byte) []byte {
	f := appendFrame(nil, k, payload)
	seal(f)
	return f
}

// seal sets the checksums of complete frames and returns their number.
func seal(frames []byte) (n int) {
	for ; len(frames) > 0; n++ {
		end := frameSize(frames)
		binary.LittleEndian.PutUint32(frames[crcAt:], checksum(frames, frames[headerSize:end]))
		frames = frames[end:]
	}
	return n
}

// frameSize returns the size of the frame that begins with header, in bytes.
func frameSize(header []byte) int {
	return headerSize + int(binary.LittleEndian.Uint32(header))
}

// frames cuts a stream into frames. Its buffer grows with the bytes that have arrived, not with the
// length that a frame announces.
type frames struct {
	src      io.Reader
	max      int    // bytes of a payload
	buf      []byte // unread bytes are at [from, to)
	from, to int
}

// widen changes the limit of the payload. The small buffer of a hello is given up if it is empty.
func (f *frames) widen(most int) {
	f.max = most
	if f.from == f.to {
		f.buf, f.from, f.to = nil, 0, 0
	}
}

// next returns the payload of the next frame, which is valid until the following call. It returns
// io.EOF only between frames.
func (f *frames) next() (kind, []byte, error) {
	if err := f.fill(headerSize); err != nil {
		return 0, nil, err
	}
	size := frameSize(f.buf[f.from:])
	if size > headerSize+f.max {
		return 0, nil, fmt.Errorf("a frame announces %d bytes; at most %d are allowed here (it begins with %q)",
			size-headerSize, f.max, f.buf[f.from:f.from+headerSize])
	}
	if err := f.fill(size); err != nil {
		return 0, nil, err
	}
	header, payload := f.buf[f.from:], f.buf[f.from+headerSize:f.from+size:f.from+size]
	if got, want := checksum(header, payload), binary.LittleEndian.Uint32(header[crcAt:]); got != want {
		return 0, nil, fmt.Errorf("a frame of %d bytes has checksum %08x and says %08x: it was damaged on the way",
			len(payload), got, want)
	}
	f.from += size
	return kind(header[4]), payload, nil
}

// fill reads until n bytes are unread.
func (f *frames) fill(n int) error {
	if f.from == f.to {
		f.from, f.to = 0, 0
		if len(f.buf) > keepSize && n <= bufferSize {
			f.buf = nil
		}
	}
	for f.to-f.from < n {
		if err := f.more(n); err != nil {
			return err
		}
	}
	return nil
}

// more reads once, after making room.
func (f *frames) more(n int) error {
	if f.from+n > len(f.buf) && f.from > 0 {
		f.to = copy(f.buf, f.buf[f.from:f.to])
		f.from = 0
	}
	if f.to == len(f.buf) {
		larger := make([]byte, max(min(bufferSize, headerSize+f.max), min(2*len(f.buf), n)))
		copy(larger, f.buf[:f.to])
		f.buf = larger
	}
	got, err := f.src.Read(f.buf[f.to:])
	f.to += got
	switch {
	case got > 0:
		return nil
	case err == io.EOF && f.to > f.from:
		return io.ErrUnexpectedEOF
	}
	return err
}
