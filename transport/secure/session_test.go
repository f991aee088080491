package secure

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Bytes come in any pieces. A record that is not whole stays with the caller.
func TestOpenTakesWholeRecords(t *testing.T) {
	r := newRaw(t)
	stream := append(r.up.seal(typeData, []byte("one")), r.up.seal(typeData, bytes.Repeat([]byte("2"), PlainMost))...)
	stream = append(stream, r.up.seal(typeData, []byte("three"))...)
	var got []byte
	var kept []byte
	for len(stream) > 0 {
		n := min(1+len(stream)%701, len(stream))
		kept = append(kept, stream[:n]...)
		stream = stream[n:]
		plain, used, err := r.Open(r.plain, kept, 0)
		must(t, err)
		got = append(got, r.plain[:plain]...)
		kept = append(kept[:0], kept[used:]...)
	}
	if want := "one" + strings.Repeat("2", PlainMost) + "three"; string(got) != want || len(kept) != 0 {
		t.Errorf("%d bytes, and %d are kept", len(got), len(kept))
	}
}

// The answer to a key update precedes the next record that the shard encrypts, with the old keys.
func TestKeyUpdateIsAnsweredBeforeTheNextRecord(t *testing.T) {
	r := newRaw(t)
	for round := range 3 {
		got, err := r.send(r.up.seal(typeData, []byte("a")), r.up.seal(typeHandshake, keyUpdate(true)))
		must(t, err)
		r.up.update()
		more, err := r.send(r.up.seal(typeData, []byte("b")))
		must(t, err)
		if got+more != "ab" {
			t.Fatalf("round %d: read %q and %q", round, got, more)
		}
		sealed, err := r.Seal([]byte("head"), []byte("c"))
		must(t, err)
		kind, data, rest := r.down.open(sealed[len("head"):])
		if kind != typeHandshake || !bytes.Equal(data, keyUpdate(false)) {
			t.Fatalf("round %d: record of type %d first: % x", round, kind, data)
		}
		r.down.update()
		if kind, data, rest = r.down.open(rest); kind != typeData || string(data) != "c" || len(rest) != 0 {
			t.Fatalf("round %d: then type %d, %q and %d bytes", round, kind, data, len(rest))
		}
	}
}

// Key updates that want no answer are counted too, although nothing shows them from outside.
func TestRecordsWithoutDataAreBounded(t *testing.T) {
	for name, kind := range map[string]bool{"with request": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			r := newRaw(t)
			update := func() error {
				_, err := r.send(r.up.seal(typeHandshake, keyUpdate(kind)))
				r.up.update()
				if err == nil {
					_, err = r.send(r.up.seal(typeData, []byte("x")))
				}
				return err
			}
			for range idleBurst {
				must(t, update())
			}
			r.now += int64(idleEvery) // one more each second is accepted for ever
			for range 10 * idleBurst {
				must(t, update())
				r.now += int64(idleEvery)
			}
			for i := range 2 {
				if err := update(); err != nil {
					if !errors.Is(err, ErrIdleRecords) {
						t.Errorf("error %v", err)
					}
					return
				} else if i == 1 {
					t.Error("two at once are accepted")
				}
			}
		})
	}
}

func TestEndOfEitherSide(t *testing.T) {
	r := newRaw(t)
	got, err := r.send(r.up.seal(typeData, []byte("last")), r.up.seal(typeAlert, []byte{1, 0}))
	if got != "last" || err != io.EOF {
		t.Fatalf("the client's end: %q, %v", got, err)
	}
	sealed, err := r.Seal(nil, []byte("answer")) // the other direction goes on
	must(t, err)
	sealed, err = r.End(sealed)
	must(t, err)
	_, data, rest := r.down.open(sealed)
	if string(data) != "answer" {
		t.Errorf("the answer is %q", data)
	}
	if kind, data, rest := r.down.open(rest); kind != typeAlert || !bytes.Equal(data, []byte{1, 0}) || len(rest) != 0 {
		t.Errorf("type %d, % x, %d bytes follow", kind, data, len(rest))
	}
	if sealed, err = r.Seal(nil, []byte("more")); err == nil || len(sealed) != 0 {
		t.Errorf("a record of %d bytes behind the end, error %v", len(sealed), err)
	}
}

// After a record that was changed on its way, an alert is the last that is sent.
func TestChangedRecordEndsTheSession(t *testing.T) {
	r := newRaw(t)
	bad := r.up.seal(typeData, []byte("order"))
	bad[len(bad)-1] ^= 1
	if got, err := r.send(bad); got != "" || err == nil {
		t.Fatalf("read %q, %v", got, err)
	}
	sealed, err := r.Seal(nil, []byte("answer"))
	if err == nil {
		t.Fatal("a record of data is made")
	}
	if kind, data, rest := r.down.open(sealed); kind != typeAlert || data[1] != 20 || len(rest) != 0 {
		t.Errorf("type %d, % x, %d bytes follow; want the alert bad_record_mac", kind, data, len(rest))
	}
	if _, err := r.send(r.up.seal(typeData, []byte("next"))); err == nil {
		t.Error("the session goes on reading")
	}
}

func TestTooLongRecordIsRejectedAtItsHeader(t *testing.T) {
	r := newRaw(t)
	if _, _, err := r.Open(r.plain, []byte{typeData, 3, 3, 0xff, 0xff}, 0); err == nil {
		t.Error("it is awaited")
	}
	if _, used, err := r.Open(r.plain, r.up.seal(typeData, []byte("next")), 0); err == nil || used != 0 {
		t.Errorf("the session goes on reading: %d bytes, %v", used, err)
	}
}

// What crypto/tls allocates is said in doc.go.
func TestAllocations(t *testing.T) {
	if raced {
		t.Skip("under the race detector a sync.Pool, where crypto/tls keeps its buffers, drops some of them")
	}
	r := newRaw(t)
	plain, dst := make([]byte, 77), make([]byte, 0, 256)
	if n := testing.AllocsPerRun(200, func() {
		if _, err := r.Seal(dst, plain); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Seal allocates %v times", n)
	}
	var records [][]byte
	for range 500 {
		records = append(records, r.up.seal(typeData, plain))
	}
	if n := testing.AllocsPerRun(200, func() {
		_, _, err := r.Open(r.plain, records[0], 0)
		must(t, err)
		records = records[1:]
	}); n > 1 {
		t.Errorf("Open allocates %v times a record", n)
	}
}

func TestFingerprintText(t *testing.T) {
	f := Fingerprint{1, 0xab, 31: 0xff}
	colons := strings.ToUpper(f.String()[:2]) + ":" + strings.ToUpper(f.String()[2:])
	for _, text := range []string{f.String(), colons} {
		if got, err := ParseFingerprint(text); err != nil || got != f {
			t.Errorf("%q is %v (%v)", text, got, err)
		}
	}
	for _, text := range []string{"", "abc", f.String()[2:], f.String() + "00", "x" + f.String()[1:]} {
		if _, err := ParseFingerprint(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

// TLS 1.3 has no renegotiation. A client that begins another handshake is ended.
func TestAnotherHandshakeIsRefused(t *testing.T) {
	r := newRaw(t)
	if _, err := r.send(r.up.seal(typeHandshake, []byte{1, 0, 0, 0})); err == nil {
		t.Error("a ClientHello within the connection is accepted")
	}
	if _, err := r.Seal(nil, []byte("answer")); err == nil {
		t.Error("the session goes on")
	}
}
