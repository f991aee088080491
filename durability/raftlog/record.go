package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"

	pb "go.etcd.io/raft/v3/raftpb"
)

// The journal of a node is a log of operations, one a payload. Truncation is logical: an entry with
// an index that exists already cuts everything from there on.
//
//	'E' term u64, index u64, type u8, data      an entry was appended
//	'H' term u64, vote u64, commit u64          the hard state changed
//	'S' term u64, index u64, seq u64            the state of this index was received as a snapshot
const (
	recordEntry    = 'E'
	recordHard     = 'H'
	recordSnapshot = 'S'

	entryRecord = 18 // bytes before the data
	hardRecord  = 25
	snapRecord  = 25
)

// errRecord marks a payload that is no operation.
var errRecord = errors.New("raftlog: the journal has a record that no node of a cluster wrote")

func appendEntryRecord(dst []byte, e *pb.Entry) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(append(dst, recordEntry), e.GetTerm())
	dst = append(le.AppendUint64(dst, e.GetIndex()), byte(e.GetType()))
	return append(dst, e.GetData()...)
}

func appendHardRecord(dst []byte, h *pb.HardState) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(append(dst, recordHard), h.GetTerm())
	dst = le.AppendUint64(dst, h.GetVote())
	return le.AppendUint64(dst, h.GetCommit())
}

func appendSnapshotRecord(dst []byte, m Meta) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(append(dst, recordSnapshot), m.Term)
	dst = le.AppendUint64(dst, m.Index)
	return le.AppendUint64(dst, uint64(m.Seq))
}

// operation is a record that was read; exactly one field is set.
type operation struct {
	entry *pb.Entry
	hard  *pb.HardState
	snap  *Meta
}

// parseRecord reads a record. Its data is copied.
func parseRecord(p []byte) (op operation, err error) {
	le := binary.LittleEndian
	switch {
	case len(p) >= entryRecord && p[0] == recordEntry:
		e := &pb.Entry{Term: new(le.Uint64(p[1:])), Index: new(le.Uint64(p[9:])),
			Type: pb.EntryType(p[17]).Enum()}
		if len(p) > entryRecord {
			e.Data = append([]byte(nil), p[entryRecord:]...)
		}
		op.entry = e
	case len(p) == hardRecord && p[0] == recordHard:
		op.hard = &pb.HardState{Term: new(le.Uint64(p[1:])), Vote: new(le.Uint64(p[9:])),
			Commit: new(le.Uint64(p[17:]))}
	case len(p) == snapRecord && p[0] == recordSnapshot:
		op.snap = &Meta{Term: le.Uint64(p[1:]), Index: le.Uint64(p[9:]), Seq: seqOf(p[17:])}
	default:
		return op, fmt.Errorf("%w: %d bytes beginning with % x", errRecord, len(p), p[:min(len(p), 4)])
	}
	return op, nil
}
