package shard

import (
	"sluice/actors/internal/transcript"
	"sluice/transport"
)

// appendRun puts a run into the inbox, as the encoder does.
func (s *script) appendRun(c *transcript.Command, client uint64) {
	n := len(c.Input)
	from := uint64(c.Number("from", int(s.position)))
	size := RecordBytes + n*UnitBytes
	room := s.frames.Claim(size + 1<<12)
	*RecordIn(room) = Record{Conn: client, Hash: transport.Hash(client), Position: from, Received: s.now,
		Flags: uint32(n) << RecordCount}
	for i, line := range c.Input {
		bytes := line.Number("size", 0)
		UnitsIn(room, n)[i] = NewUnit(bytes, uint64(i), line.Has("last"), 0)
		size += bytes
	}
	s.frames.Commit(size)
	s.position = max(s.position, from+uint64(n))
}
