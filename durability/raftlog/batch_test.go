package raftlog

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"sluice/durability"
)

func sealed(first durability.Seq, term uint64, events ...string) []byte {
	var b builder
	for _, e := range events {
		b.add([]byte(e))
	}
	return b.seal(first, term)
}

func TestBatchIsReadAsItWasMade(t *testing.T) {
	b, err := parseBatch(sealed(7, 3, "a", "", "long enough"), 3)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for seq, e := range b.Events() {
		if want := durability.Seq(7 + len(got)); seq != want {
			t.Errorf("event %d, want %d", seq, want)
		}
		got = append(got, string(e))
	}
	if want := []string{"a", "", "long enough"}; !slices.Equal(got, want) || b.Last() != 9 {
		t.Errorf("%q up to %d, want %q up to 9", got, b.Last(), want)
	}
	for range (Batch{}).Events() {
		t.Error("the zero Batch has an event")
	}
}

func TestBatchWithAnyBitChangedIsRefused(t *testing.T) {
	data := sealed(7, 3, "first", "second")
	for i := range data {
		for bit := range 8 {
			changed := bytes.Clone(data)
			changed[i] ^= 1 << bit
			if _, err := parseBatch(changed, 3); !errors.Is(err, errBatch) && !(i > 0 && i < 4) {
				t.Errorf("bit %d of byte %d: %v", bit, i, err)
			}
		}
	}
	if _, err := parseBatch(data, 4); !errors.Is(err, errBatch) {
		t.Errorf("a batch of term 3 in an entry of term 4: %v", err)
	}
}

func FuzzBatch(f *testing.F) {
	f.Add(sealed(1, 1, "x"), uint64(1))
	f.Add([]byte{1, 0, 0, 0}, uint64(0))
	f.Fuzz(func(t *testing.T, data []byte, term uint64) {
		b, err := parseBatch(data, term)
		if err != nil {
			return
		}
		n := uint32(0)
		for range b.Events() {
			n++
		}
		if n != b.Count {
			t.Errorf("%d events, the batch says %d", n, b.Count)
		}
	})
}

func TestRecordsAreReadAsTheyWereWritten(t *testing.T) {
	e := &pb.Entry{Term: new(uint64(3)), Index: new(uint64(9)), Type: pb.EntryNormal.Enum(), Data: []byte("data")}
	op, err := parseRecord(appendEntryRecord(nil, e))
	if err != nil || op.entry.GetTerm() != 3 || op.entry.GetIndex() != 9 || string(op.entry.GetData()) != "data" {
		t.Errorf("%v, %v", op.entry, err)
	}
	h := &pb.HardState{Term: new(uint64(4)), Vote: new(uint64(2)), Commit: new(uint64(8))}
	op, err = parseRecord(appendHardRecord(nil, h))
	if err != nil || op.hard.GetTerm() != 4 || op.hard.GetVote() != 2 || op.hard.GetCommit() != 8 {
		t.Errorf("%v, %v", op.hard, err)
	}
	op, err = parseRecord(appendSnapshotRecord(nil, Meta{Term: 5, Index: 6, Seq: 7}))
	if err != nil || op.snap.Term != 5 || op.snap.Index != 6 || op.snap.Seq != 7 {
		t.Errorf("%+v, %v", op.snap, err)
	}
	for _, p := range []string{"", "E", "H12345678", "X"} {
		if _, err := parseRecord([]byte(p)); !errors.Is(err, errRecord) {
			t.Errorf("%q: %v", p, err)
		}
	}
}

func TestMetaIsReadAsItWasWritten(t *testing.T) {
	want := &Meta{Term: 1, Index: 2, Seq: 3, HardTerm: 4, Vote: 5, Commit: 6,
		Members: Members{Index: 2, All: []Member{{1, Voter, "a"}, {2, Leaving, ""}, {NodeID(2, 1), Learner, "b"}},
			Gone: []uint64{31}}}
	var b bytes.Buffer
	if err := want.Write(&b); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	got, err := ReadMeta(bytes.NewReader(append(bytes.Clone(whole), "state"...)))
	if err != nil || !reflect.DeepEqual(got.Members, want.Members) || got.Seq != 3 || got.Vote != 5 || got.Commit != 6 {
		t.Errorf("%+v, %v", got, err)
	}
	for n := range whole {
		if _, err := ReadMeta(bytes.NewReader(whole[:n])); !errors.Is(err, errMeta) {
			t.Errorf("%d bytes of %d: %v", n, len(whole), err)
		}
	}
}
