package sequencer

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"sluice/durability"
	"sluice/mailbox"
)

// wild lets a stage live a random life: requests, connections, keys, ticks and time. after is called
// after every step.
func wild(t *testing.T, st *stage, rng *rand.Rand, after func()) {
	keys := uint32(len(st.seq.state.keys))
	next := uint64(100)
	var open []uint64
	for range 300 {
		for range rng.IntN(20) {
			switch rng.IntN(13) {
			case 0:
				next++
				if err := st.queue.Connected(next, trader(rng.Uint32N(keys+1))); err != nil {
					t.Fatal(err)
				}
				open = append(open, next)
			case 1:
				if len(open) > 0 {
					i := rng.IntN(len(open))
					st.queue.Disconnected(open[i], trader(0))
					open = append(open[:i], open[i+1:]...)
				}
			case 2:
				keys++
				if err := st.queue.Introduce(keys, [8]byte{byte(keys), byte(rng.Uint32())}); err != nil {
					t.Fatal(err)
				}
			case 3:
				st.put(1, tagTick, byte(1+rng.IntN(5)))
			case 4:
				st.put(1, 0x2F)
			case 5:
				st.put(1, tagQuery, 1, 1)
			case 6:
				st.policy(durability.Majority(1 + rng.IntN(durability.MaxNodes)))
			default:
				req := trades(uint64(1+rng.IntN(5)), tagEvent, make3(byte(1+rng.IntN(5)), rng.IntN(9))...)
				req.Identity.Number = rng.Uint32N(keys + 1)
				if err := st.queue.Put(&req, nil, 1); err != nil {
					t.Fatal(err)
				}
			}
		}
		st.wall += rng.Int64N(30)
		st.settle()
		st.pass()
		after()
	}
}

// Replays of one journal, from its beginning and from any snapshot on the way, agree byte for byte
// with the run and with each other, on the state of sequencer and application and on the digest.
func TestReplaysOfALifeAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	taken := map[durability.Seq][]byte{0: nil}
	snapshots := newMarker(t)
	st, _ := newLife(t, func(c *Config[report, report]) {
		c.CheckpointEvents, c.Snapshots, c.SnapshotEvents = 64, snapshots.Snapshots, 100
	})
	wild(t, st, rng, func() { snapshots.last() })
	snapshots.copies(st, func() Application[report, report] { return newAlive(&script{}) },
		func(at Mark, snapshot []byte) { taken[at.Seq] = snapshot })
	kinds := map[Kind]int{}
	var ev Event
	for i, raw := range st.events {
		if err := DecodeEvent(raw, &ev); err != nil {
			t.Fatal(err)
		}
		if kinds[ev.Kind]++; (ev.Kind == KindCheckpoint) != ((i+1)%64 == 0) {
			t.Fatalf("event %d is a %s", i+1, ev.Kind)
		}
	}
	for k := KindRequest; k < KindVersion; k++ {
		if kinds[k] < 10 {
			t.Errorf("%d events of kind %s: too few to mean anything", kinds[k], k)
		}
	}
	if len(taken) < 10 {
		t.Fatalf("%d snapshots", len(taken))
	}
	for seq, snapshot := range taken {
		app := newAlive(&script{})
		state, n, err := Replay[report, report](context.Background(), app, scriptEncoder{},
			recovered{snapshot, seq, st.events}, nil)
		if err != nil || n != uint64(len(st.events))-uint64(seq) {
			t.Fatalf("from snapshot %d: %d events, %v", seq, n, err)
		}
		st.equal(app, state)
	}
}

// tampered is an encoder that writes other frames from some report on.
type tampered struct {
	scriptEncoder
	from  uint64
	panic bool
}

func (e tampered) AppendReport(dst []byte, r *report) ([]byte, error) {
	if r.Seq >= e.from {
		if e.panic {
			panic("planted")
		}
		return append(dst, 1), nil
	}
	return e.scriptEncoder.AppendReport(dst, r)
}

func TestReplayWithOtherOutputsStops(t *testing.T) {
	st := newStage(t, 1<<12, func(c *Config[report, report]) { c.CheckpointEvents = 10 })
	for range 30 {
		st.put(1, tagEvent, 1, 2)
	}
	st.settle()
	st.pass()
	replayWith := func(e tampered) (*State, error) {
		state, _, err := Replay[report, report](context.Background(), &script{}, e,
			recovered{nil, 0, st.events}, nil)
		return state, err
	}
	state, err := replayWith(tampered{from: 1000})
	if err != nil {
		t.Fatal(err)
	}
	ours, n := state.Digest()
	if theirs, m := st.seq.state.Digest(); ours != theirs || n != m || n != 60 {
		t.Errorf("digest %x of %d outputs, the run has %x of %d", ours, n, theirs, m)
	}
	var checkpoint Event
	if err := DecodeEvent(st.events[19], &checkpoint); err != nil {
		t.Fatal(err)
	}
	digest, outputs := checkpoint.Checkpoint()
	for _, e := range []tampered{{from: 15}, {from: 19, panic: true}} {
		_, err = replayWith(e)
		want := fmt.Sprintf("checkpoint event 20 of the journal: the digest of all outputs was %016x (%d outputs)",
			digest, outputs)
		if err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), "in this replay it is ") {
			t.Errorf("%+v: error %v, want %q and the digest of the replay", e, err, want)
		}
	}
	// Event 21 is behind the second checkpoint, so the third one finds it.
	if _, err := replayWith(tampered{from: 21}); err == nil || !strings.Contains(err.Error(), "checkpoint event 30") {
		t.Errorf("error %v, want one that names checkpoint 30", err)
	}
}

// An encoder that fails or panics costs one output, in the digest as in the pipeline, and the same in
// every run.
func TestDigestOfOutputsThatCannotBeEncoded(t *testing.T) {
	for _, e := range []tampered{{from: 5, panic: true}, {from: 5}} {
		st := newStage(t, 1<<12, func(c *Config[report, report]) { c.CheckpointEvents, c.Encoder = 10, e })
		for range 20 {
			st.put(1, tagEvent, 1, 2)
		}
		st.settle()
		state, _, err := Replay[report, report](context.Background(), &script{}, e,
			recovered{nil, 0, st.events}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ours, n := state.Digest()
		if theirs, m := st.seq.state.Digest(); ours != theirs || n != m || n != 40 {
			t.Errorf("digest %x of %d outputs, the run has %x of %d", ours, n, theirs, m)
		}
	}
}

// Outputs count in the digest wherever they had room: in the ring, in the spill, or in a frame larger
// than the hasher's buffer.
func TestDigestCountsSpilledOutputs(t *testing.T) {
	digestOf := func(slots, maxFrame int) (uint64, uint64) {
		st := newStage(t, slots, func(c *Config[report, report]) { c.MaxFrame = maxFrame })
		for n := range 40 {
			st.put(1, tagEvent, make3(2, n)...)
			for range 40 {
				st.settle()
				st.pass()
			}
		}
		return st.seq.state.Digest()
	}
	want, n := digestOf(1<<12, 64)
	for _, c := range [][2]int{{2, 64}, {16, 64}, {16, 5}, {1 << 12, 0}} {
		if got, m := digestOf(c[0], c[1]); got != want || m != n || n != 40*39/2 {
			t.Errorf("%d slots, frames of %d B: digest %x of %d, want %x of %d", c[0], c[1], got, m, want, n)
		}
	}
}

// A checkpoint waits for room like any event, and is journaled once.
func TestCheckpointWaitsForRoom(t *testing.T) {
	var log *mailbox.BytesReader
	st := newStage(t, 1<<12, func(c *Config[report, report]) {
		c.CheckpointEvents = 2
		c.Journal, log = mailbox.NewBytes(256)
	})
	st.log = log
	for range 20 {
		st.put(1, tagEvent, 1)
	}
	for range 40 {
		st.settle()
		st.pass()
	}
	if got := strings.Count(st.journaled(0), "request 1, checkpoint"); got != 20 || len(st.events) != 40 {
		t.Errorf("journaled %s", st.journaled(0))
	}
}

func TestSectionOfSnapshotIsVerified(t *testing.T) {
	st, _ := newLife(t, nil)
	wild(t, st, rand.New(rand.NewPCG(1, 9)), func() {})
	good := sectionOf(t, st.seq.state)
	state, err := readState(bytes.NewReader(append(bytes.Clone(good), "the application's"...)))
	if err != nil {
		t.Fatal(err)
	}
	if again := sectionOf(t, state); !bytes.Equal(again, good) {
		t.Errorf("read and written again, the section is\n%x, was\n%x", again, good)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := readState(bytes.NewReader(bad)); err == nil {
			t.Errorf("a changed byte %d of %d is not noticed", i, len(good))
		}
		if _, err := readState(bytes.NewReader(good[:i])); err == nil {
			t.Errorf("an end after byte %d of %d is not noticed", i, len(good))
		}
	}
	for _, c := range []struct {
		at   int
		b    byte
		want string
	}{{0, 'X', "instead of"}, {8, 9, "version 9, this program reads version 2"}} {
		bad := bytes.Clone(good)
		bad[c.at] = c.b
		if _, err := readState(bytes.NewReader(bad)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

func FuzzReadState(f *testing.F) {
	s := NewState()
	s.conns[5], s.keys, s.skips = trader(1), [][8]byte{{1}}, []durability.Seq{3}
	s.policy = durability.Hybrid()
	var b bytes.Buffer
	if err := s.write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes()[sectionHeader : b.Len()-4])
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) < sectionFixed {
			return
		}
		state, err := parseState(payload)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := state.write(&again); err != nil {
			t.Fatal(err)
		}
		if n := binary.LittleEndian.Uint64(again.Bytes()[12:]); int(n) > len(payload) {
			t.Fatalf("%x is written as %x", payload, again.Bytes())
		}
	})
}
