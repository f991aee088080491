package bench

import (
	"encoding/binary"
	"errors"
	"fmt"

	"sluice/actors"
)

// Report is the content of the slots of a benchmark.
type Report struct {
	Conn  uint64 // connection of the report
	Seq   uint64 // number of the report on its connection, from 1
	Stamp int64  // scheduled time of publication, CLOCK_MONOTONIC ns
	Size  int32  // bytes of the frame
}

// Slot is the output slot of the pipeline under test, and of its peers.
type Slot = actors.Slot[Report, struct{}]

// Layout of a frame: length u32, tag u8, connection u64, number u64, stamp i64, zeroes up to its
// size.
const (
	frameTag   = 0x30
	frameLeast = 4 + 1 + 8 + 8 + 8
	frameMost  = 64 << 10
)

// frames encodes reports. It implements encode.Encoder.
type frames struct{}

// AppendReport appends the frame of r.
func (frames) AppendReport(dst []byte, r *Report) ([]byte, error) { return AppendFrame(dst, r), nil }

// AppendQuery returns an error, because a benchmark has no queries.
func (frames) AppendQuery([]byte, *struct{}) ([]byte, error) {
	return nil, errors.New("bench: there are no queries")
}

// AppendFrame appends the frame of r to dst, r.Size bytes in all.
func AppendFrame(dst []byte, r *Report) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(r.Size)-4)
	dst = append(dst, frameTag)
	dst = binary.LittleEndian.AppendUint64(dst, r.Conn)
	dst = binary.LittleEndian.AppendUint64(dst, r.Seq)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.Stamp))
	for rest := int(r.Size) - frameLeast; rest > 0; {
		n := min(rest, len(zeroes))
		dst = append(dst, zeroes[:n]...)
		rest -= n
	}
	return dst
}

// RenumberFrame changes number and time of a frame of AppendFrame.
func RenumberFrame(frame []byte, seq uint64, stamp int64) {
	binary.LittleEndian.PutUint64(frame[13:], seq)
	binary.LittleEndian.PutUint64(frame[21:], uint64(stamp))
}

const zeroes = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// heartbeatTag is the tag of heartbeats, which belong to no slot.
const heartbeatTag = 0x01

// nextFrame reads the frame at the start of b. size is 0 if the frame is incomplete; r.Conn is 0
// for a heartbeat.
func nextFrame(b []byte) (r Report, size int, err error) {
	if len(b) < 5 {
		return r, 0, nil
	}
	length := binary.LittleEndian.Uint32(b)
	if length == 1 && b[4] == heartbeatTag {
		return r, 5, nil
	}
	if length < frameLeast-4 || length > frameMost-4 || b[4] != frameTag {
		return r, 0, fmt.Errorf("torn stream: a frame begins with length %d and tag %#x", length, b[4])
	}
	size = 4 + int(length)
	if len(b) < size {
		return r, 0, nil
	}
	return Report{
		Conn: binary.LittleEndian.Uint64(b[5:]), Seq: binary.LittleEndian.Uint64(b[13:]),
		Stamp: int64(binary.LittleEndian.Uint64(b[21:])), Size: int32(size),
	}, size, nil
}
