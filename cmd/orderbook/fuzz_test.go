package orderbook

import (
	"bytes"
	"testing"

	"sluice/actors/sequencer"
)

// FuzzRequest checks that no body makes the decoder panic, and that a decoded request
// encodes to the same bytes.
func FuzzRequest(f *testing.F) {
	for _, c := range goldenRequests {
		frame, err := AppendRequest(nil, 1, &c.command)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame[requestHeader-1], frame[requestHeader:])
	}
	f.Fuzz(func(t *testing.T, tag uint8, body []byte) {
		var c Command
		if DecodeRequest(tag, body, &c) != nil {
			return
		}
		frame, err := AppendRequest(nil, 1, &c)
		if err != nil || !bytes.Equal(frame[requestHeader:], body) {
			t.Fatalf("%x decodes to %+v, which encodes to %x (%v)", body, c, frame, err)
		}
	})
}

// FuzzResponse checks the same for responses.
func FuzzResponse(f *testing.F) {
	for _, g := range goldenResponses {
		frame := encodeResponse(f, g.value)
		f.Add(frame[4], frame[responseHeader:])
	}
	f.Fuzz(func(t *testing.T, tag uint8, body []byte) {
		var again []byte
		var r Report
		if DecodeReport(tag, body, &r) == nil {
			again = encodeResponse(t, r)
		} else if a, err := DecodeAnswer(tag, body); err == nil {
			again = encodeResponse(t, a)
		} else {
			return
		}
		if again[4] != tag || !bytes.Equal(again[5:], body) {
			t.Fatalf("response 0x%02x %x encodes to %x", tag, body, again)
		}
	})
}

// FuzzRestore checks that damaged snapshots are rejected without a panic and leave the book
// unchanged.
func FuzzRestore(f *testing.F) {
	config := Config{MaxInstruments: 3, MaxAccounts: 4, MaxPositions: 9, MaxOrders: 12,
		MaxLevels: 3, MaxQuantity: 8, MaxTrades: 2}
	b := mustNew(f, config)
	st := stepper{next: map[uint64]uint64{}}
	data := randomBytes(3, 8*40)
	for i := 0; i < len(data); i += 8 {
		st.spell(data[i : i+8])
		deliver(f, b, st.event(f))
	}
	good := snapshot(f, b)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		fresh := mustNew(t, config)
		before := snapshot(t, fresh)
		// The checksum would stop nearly every input; put it right to get behind it.
		data = withChecksum(data)
		if err := fresh.Restore(bytes.NewReader(data)); err != nil {
			if !bytes.Equal(before, snapshot(t, fresh)) {
				t.Fatalf("a rejected snapshot (%v) changed the book", err)
			}
			return
		}
		if err := audit(fresh); err != nil {
			t.Fatalf("the restored book is inconsistent: %v", err)
		}
		if again := snapshot(t, fresh); !bytes.Equal(again, data[:len(again)]) {
			t.Fatal("the snapshot of the restored book differs")
		}
	})
}

var (
	_ sequencer.Application[Report, Answer]        = (*Book)(nil)
	_ sequencer.Checker                            = (*Book)(nil)
	_ sequencer.ConnectionObserver[Report, Answer] = (*Book)(nil)
	_ sequencer.Ticker[Report, Answer]             = (*Book)(nil)
	_ sequencer.Describer                          = (*Book)(nil)
	_ sequencer.Limited                            = (*Book)(nil)
	_ sequencer.Publisher[Report, Answer]          = (*Book)(nil)
)
