package sequencer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"

	"sluice/durability"
)

// The sequencer's part of a snapshot, in front of the application's bytes, little-endian:
//
//	magic "sluicesq", version u32, length u64 of the payload, payload, CRC-32C u32 of all before
//
//	payload:  last event u64, its time i64, version of the rules u32, whether one was journaled u8,
//	          hash of the outputs (xxhash.Digest, 76 B), number of outputs u64,
//	          identities u32, of each the key 8 B, in the order of their numbers,
//	          connected u32, of each connection u64, identity u32, role u8, by connection,
//	          skips u32, of each the event u64,
//	          bytes u32 of the policy in force by the journal, as text, 0 if there is none
const (
	sectionMagic   = "sluicesq"
	sectionVersion = 2
	sectionHeader  = 8 + 4 + 8
	digestBytes    = 76
	sectionFixed   = 8 + 8 + 4 + 1 + digestBytes + 8
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// write writes the section to w.
func (s *State) write(w io.Writer) error {
	s.outputs.flush()
	sum, err := s.outputs.sum.MarshalBinary()
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	b := append(make([]byte, 0, 512), sectionMagic...)
	b = le.AppendUint32(b, sectionVersion)
	b = le.AppendUint64(b, 0) // the length
	b = le.AppendUint64(b, uint64(s.last))
	b = le.AppendUint64(b, uint64(s.time))
	b = le.AppendUint32(b, s.rules)
	b = append(b, 0)
	if s.versioned {
		b[len(b)-1] = 1
	}
	b = append(b, sum...)
	b = le.AppendUint64(b, s.outputs.outputs)
	b = le.AppendUint32(b, uint32(len(s.keys)))
	for i := range s.keys {
		b = append(b, s.keys[i][:]...)
	}
	b = le.AppendUint32(b, uint32(len(s.conns)))
	for _, conn := range slices.Sorted(maps.Keys(s.conns)) {
		id := s.conns[conn]
		b = le.AppendUint64(b, conn)
		b = le.AppendUint32(b, id.Number)
		b = append(b, id.Role)
	}
	b = le.AppendUint32(b, uint32(len(s.skips)))
	for _, seq := range s.skips {
		b = le.AppendUint64(b, uint64(seq))
	}
	var policy string
	if s.policy.Len() > 0 {
		policy = s.policy.String()
	}
	b = le.AppendUint32(b, uint32(len(policy)))
	b = append(b, policy...)
	le.PutUint64(b[12:], uint64(len(b)-sectionHeader))
	b = le.AppendUint32(b, crc32.Checksum(b, castagnoli()))
	_, err = w.Write(b)
	return err
}

// CheckSection reads the sequencer's part of a snapshot. What follows in r is the application's.
func CheckSection(r io.Reader) (*State, error) { return readState(r) }

// readState reads a section, and not a byte more.
func readState(r io.Reader) (*State, error) {
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r, sectionHeader); err != nil {
		return nil, fmt.Errorf("sequencer: a snapshot that ends in its first %d bytes: %w",
			sectionHeader, err)
	}
	le := binary.LittleEndian
	header := b.Bytes()
	if string(header[:8]) != sectionMagic {
		return nil, fmt.Errorf("sequencer: a snapshot that begins with %q instead of %q; it was "+
			"written by an older program, or is no snapshot of a node", header[:8], sectionMagic)
	}
	if v := le.Uint32(header[8:]); v != sectionVersion {
		return nil, fmt.Errorf("sequencer: a snapshot of version %d, this program reads version "+
			"%d; start the program that wrote it", v, sectionVersion)
	}
	length := le.Uint64(header[12:])
	if length < sectionFixed || length > 1<<40 {
		return nil, fmt.Errorf("sequencer: a snapshot whose first part has %d bytes", length)
	}
	if n, err := io.CopyN(&b, r, int64(length)+4); err != nil {
		return nil, fmt.Errorf("sequencer: a snapshot whose first part ends after %d of %d bytes: %w",
			n, length+4, err)
	}
	all := b.Bytes()
	body := all[:len(all)-4]
	if sum := crc32.Checksum(body, castagnoli()); sum != le.Uint32(all[len(body):]) {
		return nil, fmt.Errorf("sequencer: a snapshot whose first part has checksum %08x, but %08x "+
			"is written behind it", sum, le.Uint32(all[len(body):]))
	}
	return parseState(body[sectionHeader:])
}

// parseState reads the payload of a section.
func parseState(b []byte) (*State, error) {
	le := binary.LittleEndian
	s := NewState()
	s.last, s.time = durability.Seq(le.Uint64(b)), int64(le.Uint64(b[8:]))
	s.rules, s.versioned = le.Uint32(b[16:]), b[20] == 1
	b = b[21:]
	if err := s.outputs.sum.UnmarshalBinary(b[:digestBytes]); err != nil {
		return nil, fmt.Errorf("sequencer: the digest of a snapshot: %w", err)
	}
	s.outputs.outputs = le.Uint64(b[digestBytes:])
	b = b[digestBytes+8:]
	// list reads a list of entries of size bytes.
	list := func(what string, size int, entry func(b []byte)) error {
		if len(b) < 4 {
			return fmt.Errorf("sequencer: a snapshot without its list of %s", what)
		}
		n := int(le.Uint32(b))
		if b = b[4:]; len(b)/size < n {
			return fmt.Errorf("sequencer: a snapshot with %d %s in %d bytes", n, what, len(b))
		}
		for ; n > 0; n-- {
			entry(b)
			b = b[size:]
		}
		return nil
	}
	if err := list("identities", 8, func(b []byte) {
		s.keys = append(s.keys, [8]byte(b))
	}); err != nil {
		return nil, err
	}
	if err := list("connections", 13, func(b []byte) {
		s.conns[le.Uint64(b)] = Identity{Number: le.Uint32(b[8:]), Role: b[12]}
	}); err != nil {
		return nil, err
	}
	if err := list("skipped events", 8, func(b []byte) {
		s.skips = append(s.skips, durability.Seq(le.Uint64(b)))
	}); err != nil {
		return nil, err
	}
	var policy []byte
	if err := list("bytes of a policy", 1, func(b []byte) { policy = append(policy, b[0]) }); err != nil {
		return nil, err
	}
	if len(policy) > 0 {
		var err error
		if s.policy, err = parsePolicy(policy); err != nil {
			return nil, fmt.Errorf("sequencer: the policy of a snapshot: %w", err)
		}
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("sequencer: a snapshot with %d bytes too many in its first part", len(b))
	}
	return s, nil
}
