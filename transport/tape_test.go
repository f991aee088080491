package transport

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// tapeModel is what a tape must hold: all frames ever appended.
type tapeModel struct {
	t      *testing.T
	slab   *Slab
	tape   Tape
	frames [][]byte
}

func newTapeModel(t *testing.T) *tapeModel {
	slab, err := NewSlab(1<<16, 1<<22)
	if err != nil {
		t.Fatal(err)
	}
	return &tapeModel{t: t, slab: slab}
}

// append appends a frame of n bytes, growing the tape up to a size and dropping what it has to.
func (m *tapeModel) append(n, size int) {
	frame := bytes.Repeat([]byte{byte(len(m.frames)*7 + 1)}, n)
	for !m.tape.Fits(n) || m.tape.Needs(n) > m.tape.First() && m.tape.Size() < size {
		if !m.tape.Grow(m.slab, max(2*m.tape.Size(), BlockMin)) {
			m.t.Fatal("no memory")
		}
	}
	m.tape.Drop(m.slab, m.tape.Needs(n))
	m.tape.Append(m.slab, frame)
	m.frames = append(m.frames, frame)
}

// check reads every frame that is left, from a cursor at each, and compares.
func (m *tapeModel) check() {
	m.t.Helper()
	t := &m.tape
	if t.Next() != uint64(len(m.frames)) {
		m.t.Fatalf("%d frames, want %d", t.Next(), len(m.frames))
	}
	offset := t.Tail()
	for frame := t.First(); frame < t.Next(); frame++ {
		want := m.frames[frame]
		if f, start := t.Find(offset); f != frame || start != offset {
			m.t.Fatalf("Find(%d) = %d at %d, want %d", offset, f, start, frame)
		}
		if f, start := t.Find(offset + uint64(len(want)) - 1); f != frame || start != offset {
			m.t.Fatalf("Find of the last byte of frame %d = %d at %d", frame, f, start)
		}
		if got := t.Run(m.slab, offset, len(want)); !bytes.Equal(got, want) {
			m.t.Fatalf("frame %d is % x, want % x", frame, got, want)
		}
		if offset += uint64(len(want)); t.End(frame) != offset {
			m.t.Fatalf("frame %d ends at %d, want %d", frame, t.End(frame), offset)
		}
	}
	if offset != t.Head() {
		m.t.Fatalf("the frames end at %d, the tape at %d", offset, t.Head())
	}
}

func TestTapeHoldsTheNewestFrames(t *testing.T) {
	for seed := range uint64(60) {
		m := newTapeModel(t)
		rng := rand.New(rand.NewPCG(seed, 1))
		most := 1 + rng.IntN(200)
		for range 400 {
			m.append(1+rng.IntN(most), 1<<(9+rng.IntN(4)))
			if rng.IntN(8) == 0 {
				m.check()
			}
			if rng.IntN(100) == 0 {
				m.tape.Clear(m.slab)
			}
		}
		m.check()
		m.tape.Clear(m.slab)
		if m.slab.InUse() != 0 {
			t.Fatalf("seed %d: %d bytes are not freed", seed, m.slab.InUse())
		}
	}
}

// A frame of a full tape costs the frames that it overwrites and no others.
func TestTapeDropsNoMoreThanItOverwrites(t *testing.T) {
	m := newTapeModel(t)
	for range 3 * 4096 / 64 {
		m.append(64, 4096)
	}
	if kept := m.tape.Next() - m.tape.First(); kept != 4096/64 {
		t.Errorf("a tape of 4096 bytes holds %d frames of 64 bytes", kept)
	}
	m.check()
}

// The places of small frames are the limit before their bytes are, also in the first lap.
func TestTapeOfSmallFrames(t *testing.T) {
	m := newTapeModel(t)
	for range 1000 {
		m.append(3, 1024)
		if kept := m.tape.Next() - m.tape.First(); kept > 1024/tapeFrame || m.tape.Next() > 32 && kept < 32 {
			t.Fatalf("%d frames of 3 bytes are kept", kept)
		}
	}
	m.check()
}

func TestTapeMemoryOutlivesItsTapeWhileASendReadsIt(t *testing.T) {
	m := newTapeModel(t)
	m.append(100, 1024)
	run := m.tape.Run(m.slab, 0, 100)
	want := bytes.Clone(run)
	first, second := m.tape.Hold(), m.tape.Hold()
	if !m.tape.Grow(m.slab, 2048) {
		t.Fatal("no memory")
	}
	m.tape.Clear(m.slab)
	first.Release(m.slab)
	if !bytes.Equal(run, want) || m.slab.InUse() == 0 {
		t.Error("memory was freed while a send reads it")
	}
	second.Release(m.slab)
	if m.slab.InUse() != 0 {
		t.Errorf("%d bytes are not freed", m.slab.InUse())
	}
}

func TestTapeRefusesToOverwriteWhatIsKept(t *testing.T) {
	m := newTapeModel(t)
	for range 4 {
		m.append(64, 256)
	}
	defer func() {
		if text := fmt.Sprint(recover()); !strings.Contains(text, "would overwrite frame 0") {
			t.Errorf("panic is %q", text)
		}
	}()
	m.tape.Append(m.slab, make([]byte, 64))
}

func TestTapeAppendDoesNotAllocate(t *testing.T) {
	m := newTapeModel(t)
	frame := make([]byte, 64)
	for range 200 {
		m.append(64, 4096)
	}
	if n := testing.AllocsPerRun(1000, func() {
		m.tape.Drop(m.slab, m.tape.Needs(len(frame)))
		m.tape.Append(m.slab, frame)
	}); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}
