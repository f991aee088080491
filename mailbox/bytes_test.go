package mailbox

import (
	"bytes"
	"testing"
	"unsafe"
)

// putRecord claims, fills and commits one record without publishing it.
func putRecord(t *testing.T, w *BytesWriter, record []byte) {
	t.Helper()
	claim := w.Claim(len(record))
	if claim == nil {
		t.Fatalf("no room for %d bytes, %d of %d in use", len(record), w.Len(), w.Cap())
	}
	copy(claim, record)
	w.Commit(len(record))
}

func TestRecordsArriveWholeAndInOrder(t *testing.T) {
	w, r := NewBytes(256)
	// Sizes around the alignment, for several laps, so that every position relative to the end of
	// the memory occurs.
	for i := range 400 {
		first := bytes.Repeat([]byte{byte(i)}, i%33)
		second := bytes.Repeat([]byte{byte(i + 1)}, (i*7)%41)
		putRecord(t, w, first)
		if _, ok := r.Next(); ok {
			t.Fatal("a committed record is readable before Publish")
		}
		putRecord(t, w, second)
		w.Publish()
		for _, want := range [][]byte{first, second} {
			got, ok := r.Next()
			if !ok || !bytes.Equal(got, want) {
				t.Fatalf("round %d: read %v %t, want %v", i, got, ok, want)
			}
			if cap(got) != len(got) {
				t.Fatalf("capacity %d beyond the record of %d bytes", cap(got), len(got))
			}
			if at := uintptr(unsafe.Pointer(unsafe.SliceData(got))); at%recordAlign != 0 {
				t.Fatalf("payload at %#x, not aligned to %d", at, recordAlign)
			}
		}
		r.Release()
		if r.Len() != 0 || w.Len() != 0 {
			t.Fatalf("%d bytes in use after everything was released", r.Len())
		}
	}
}

func TestLargestRecordFitsEmptyRingAtEveryOffset(t *testing.T) {
	for at := range 32 {
		w, r := NewBytes(256)
		for range at { // 8 bytes each: an empty record.
			putRecord(t, w, nil)
			w.Publish()
			r.Next()
			r.Release()
		}
		if got := w.Claim(w.MaxRecord()); len(got) != w.MaxRecord() || cap(got) != len(got) {
			t.Errorf("at offset %d: claimed %d bytes, want %d", 8*at, len(got), w.MaxRecord())
		}
	}
}

func TestRecordMayBeShorterThanItsClaim(t *testing.T) {
	w, r := NewBytes(64)
	copy(w.Claim(24), "only this")
	w.Commit(9)
	w.Publish()
	if got, _ := r.Next(); string(got) != "only this" {
		t.Fatalf("read %q", got)
	}
	if w.Len() != 24 {
		t.Fatalf("%d bytes in use, want header 8 and payload 9 rounded to 16", w.Len())
	}
}

func TestAbandonedClaimHasNoEffect(t *testing.T) {
	w, r := NewBytes(64)
	for range 2 { // 48 bytes, so that the next large claim would wrap.
		putRecord(t, w, make([]byte, 16))
	}
	w.Publish()
	r.Next()
	r.Release()
	if w.Claim(16) == nil { // It needs 24 bytes, 16 are left: it begins at the start.
		t.Fatal("no room behind the wrap")
	}
	putRecord(t, w, []byte("12345678")) // Replaces it and fits before the end.
	w.Publish()
	r.Next()
	if got, ok := r.Next(); !ok || string(got) != "12345678" {
		t.Fatalf("read %q %t", got, ok)
	}
}

func TestRecordsStayValidUntilRelease(t *testing.T) {
	w, r := NewBytes(64)
	putRecord(t, w, []byte("aaaaaaaa"))
	putRecord(t, w, []byte("bbbbbbbb"))
	w.Publish()
	a, _ := r.Next()
	b, _ := r.Next()
	for w.Claim(8) != nil {
		putRecord(t, w, []byte("cccccccc"))
		w.Publish()
	}
	if string(a) != "aaaaaaaa" || string(b) != "bbbbbbbb" {
		t.Fatalf("records changed to %q and %q while held", a, b)
	}
	r.Release()
	if w.Claim(8) == nil {
		t.Fatal("no room after Release")
	}
	if invariants && (a[0] != scribbled || b[7] != scribbled) {
		t.Fatalf("released records still read %q and %q under invariants", a, b)
	}
}

func TestDoneOfBytes(t *testing.T) {
	w, r := NewBytes(64)
	putRecord(t, w, []byte("last")) // Close publishes it.
	w.Close()
	if r.Done() {
		t.Fatal("done with a record left")
	}
	if got, ok := r.Next(); !ok || string(got) != "last" {
		t.Fatalf("read %q %t after Close", got, ok)
	}
	if r.Done() {
		t.Fatal("done with a record held")
	}
	r.Release()
	if !r.Done() {
		t.Fatal("not done after the last Release")
	}
}

func TestBytesMisusePanicsWithValues(t *testing.T) {
	cases := []struct {
		name  string
		do    func(w *BytesWriter)
		parts []string
	}{
		{"a record that might never fit", func(w *BytesWriter) { w.Claim(25) },
			[]string{"Claim of 25", "has 24"}},
		{"a record of negative size", func(w *BytesWriter) { w.Claim(-1) }, []string{"Claim of -1"}},
		{"commit without a claim", func(w *BytesWriter) { w.Commit(0) },
			[]string{"Commit of 0", "false"}},
		{"commit twice", func(w *BytesWriter) { w.Claim(8); w.Commit(4); w.Commit(4) },
			[]string{"Commit of 4", "false"}},
		{"commit of more than the claim", func(w *BytesWriter) { w.Claim(8); w.Commit(9) },
			[]string{"Commit of 9", "8 bytes"}},
		{"commit of a negative size", func(w *BytesWriter) { w.Claim(8); w.Commit(-1) },
			[]string{"Commit of -1"}},
		{"commit after a claim that failed", func(w *BytesWriter) {
			for w.Claim(24) != nil {
				w.Commit(24)
			}
			w.Commit(24)
		}, []string{"Commit of 24", "false"}},
		{"second close", func(w *BytesWriter) { w.Close(); w.Close() }, []string{"second Close"}},
		{"claim after close", func(w *BytesWriter) { w.Close(); w.Claim(1) },
			[]string{"Claim after Close"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w, _ := NewBytes(64)
			mustPanic(t, func() { c.do(w) }, c.parts...)
		})
	}
}

func TestBytesDoNotAllocate(t *testing.T) {
	w, r := NewBytes(4096)
	if n := testing.AllocsPerRun(1000, func() {
		for range 5 {
			w.Claim(77)
			w.Commit(70)
		}
		w.Publish()
		for _, ok := r.Next(); ok; _, ok = r.Next() {
		}
		r.Release()
	}); n != 0 {
		t.Errorf("%v allocations a round, want 0", n)
	}
}
