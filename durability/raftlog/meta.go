package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	pb "go.etcd.io/raft/v3/raftpb"

	"sluice/durability"
)

// Meta is what a snapshot of a node says of the log: the state after an entry, and what the journal
// no longer has.
type Meta struct {
	Term, Index uint64         // of the last entry that the state includes
	Seq         durability.Seq // last event that it includes
	// The hard state when the snapshot was taken, which is not older than any record that the
	// snapshot replaces.
	HardTerm, Vote, Commit uint64
	Members                Members // after the entry
}

func seqOf(p []byte) durability.Seq { return durability.Seq(binary.LittleEndian.Uint64(p)) }

// errMeta marks a snapshot whose beginning is not Meta.
var errMeta = errors.New("raftlog: the snapshot was not written by a node of a cluster")

const (
	metaMagic = "sluiceL2"
	metaFixed = len(metaMagic) + 6*8
)

// Write writes the beginning of a snapshot's content.
func (m *Meta) Write(w io.Writer) error {
	p := append(make([]byte, 0, metaFixed), metaMagic...)
	for _, v := range []uint64{m.Term, m.Index, uint64(m.Seq), m.HardTerm, m.Vote, m.Commit} {
		p = binary.LittleEndian.AppendUint64(p, v)
	}
	_, err := w.Write(append(p, m.Members.encode()...))
	return err
}

// ReadMeta reads the beginning of a snapshot's content; the rest is the application's.
func ReadMeta(r io.Reader) (*Meta, error) {
	var fixed [metaFixed]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", errMeta, err)
	}
	if string(fixed[:len(metaMagic)]) != metaMagic {
		return nil, fmt.Errorf("%w: it begins with %q", errMeta, fixed[:len(metaMagic)])
	}
	var v [6]uint64
	for i := range v {
		v[i] = binary.LittleEndian.Uint64(fixed[len(metaMagic)+8*i:])
	}
	m := &Meta{Term: v[0], Index: v[1], Seq: durability.Seq(v[2]), HardTerm: v[3], Vote: v[4], Commit: v[5]}
	var err error
	if m.Members, err = readMembers(r); err != nil {
		return nil, fmt.Errorf("%w: %w", errMeta, err)
	}
	return m, nil
}

func (m *Meta) hard() *pb.HardState {
	return &pb.HardState{Term: new(m.HardTerm), Vote: new(m.Vote), Commit: new(max(m.Commit, m.Index))}
}

// snapshot is the library's form of m. Its data is empty: the state travels beside it.
func (m *Meta) snapshot() *pb.Snapshot {
	return &pb.Snapshot{Metadata: &pb.SnapshotMetadata{Index: new(m.Index), Term: new(m.Term),
		ConfState: m.Members.state()}}
}
