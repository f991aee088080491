package orderbook

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"strings"
	"testing"
)

// withChecksum corrects length and checksum of a snapshot.
func withChecksum(data []byte) []byte {
	if len(data) < snapshotHeader+4 {
		return data
	}
	data = bytes.Clone(data)
	end := len(data) - 4
	binary.LittleEndian.PutUint64(data[8:], uint64(end-snapshotHeader))
	binary.LittleEndian.PutUint32(data[end:],
		crc32.Checksum(data[:end], crc32.MakeTable(crc32.Castagnoli)))
	return data
}

// traded returns a book with trades, and with orders at several prices, two of them at one price.
func traded(t testing.TB) *Book {
	b := mustNew(t, Config{})
	for i, c := range []Command{
		{Account: 1, ClientOrderID: 1, Side: Buy, Price: 99, Quantity: 5},
		{Account: 2, ClientOrderID: 1, Side: Buy, Price: 99, Quantity: 6},
		{Account: 2, ClientOrderID: 2, Side: Buy, Price: 98, Quantity: 7},
		{Account: 3, ClientOrderID: 1, Side: Sell, Price: 99, Quantity: 2},
		{Account: 3, ClientOrderID: 2, Side: Sell, Price: 103, Quantity: 4},
		{Account: 1, ClientOrderID: 2, Side: Sell, Price: 101, Quantity: 3, Instrument: 8},
	} {
		c.Tag, c.Type, c.TimeInForce = TagNew, Limit, GoodTillCancel
		do(t, b, uint64(i+1), c.Account, c)
	}
	return b
}

func TestRestoredBookWritesTheSameSnapshot(t *testing.T) {
	for name, b := range map[string]*Book{"empty": mustNew(t, Config{}), "traded": traded(t)} {
		data := snapshot(t, b)
		// What follows in the stream is not the book's.
		stream := bytes.NewReader(append(bytes.Clone(data), "next"...))
		again := mustNew(t, Config{})
		if err := again.Restore(stream); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if rest, _ := io.ReadAll(stream); string(rest) != "next" {
			t.Errorf("%s: restore left %q in the stream, want the bytes after the snapshot", name, rest)
		}
		if !bytes.Equal(data, snapshot(t, again)) || audit(again) != nil || again.Seq() != b.Seq() {
			t.Errorf("%s: the restored book differs, audit: %v", name, audit(again))
		}
	}
}

// A snapshot of version 3 has neither a limit of trades nor limits in force.
func TestSnapshotOfVersion3IsRead(t *testing.T) {
	now := snapshot(t, traded(t))
	const limits = snapshotHeader + 6*8
	old := append(bytes.Clone(now[:limits]), now[limits+8+limitsSize:]...)
	old[4] = 3
	b := mustNew(t, Config{})
	if err := b.Restore(bytes.NewReader(withChecksum(old))); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(snapshot(t, b), now) {
		t.Error("the restored book differs")
	}
}

// Limits in force that no event can have made are damage.
func TestImpossibleLimitsInASnapshotAreRejected(t *testing.T) {
	for _, orders := range []uint32{0, 1, 1<<20 - 1, 1 << 30} {
		data := snapshot(t, traded(t))
		binary.LittleEndian.PutUint32(data[snapshotHeader+7*8+3*4:], orders)
		if err := mustNew(t, Config{}).Restore(bytes.NewReader(withChecksum(data))); err == nil ||
			!strings.Contains(err.Error(), "the limits in force") {
			t.Errorf("%d orders: %v", orders, err)
		}
	}
}

func TestTruncatedSnapshotIsRejected(t *testing.T) {
	data := snapshot(t, traded(t))
	b := traded(t)
	for n := range len(data) {
		err := b.Restore(bytes.NewReader(data[:n]))
		if err == nil || !strings.Contains(err.Error(), "truncated") {
			t.Fatalf("first %d of %d bytes: %v", n, len(data), err)
		}
	}
	if !bytes.Equal(data, snapshot(t, b)) {
		t.Fatal("rejected snapshots changed the book")
	}
}

func TestSnapshotWithAFlippedBitIsRejected(t *testing.T) {
	data := snapshot(t, traded(t))
	b := mustNew(t, Config{})
	for bit := range len(data) * 8 {
		data[bit/8] ^= 1 << (bit % 8)
		if err := b.Restore(bytes.NewReader(data)); err == nil {
			t.Fatalf("flipped bit %d was not detected", bit)
		}
		data[bit/8] ^= 1 << (bit % 8)
	}
}

func TestForeignSnapshotsAreRejectedByName(t *testing.T) {
	good := snapshot(t, traded(t))
	edit := func(at int, text string) []byte {
		data := bytes.Clone(good)
		copy(data[at:], text)
		return withChecksum(data)
	}
	for _, c := range []struct {
		name   string
		data   []byte
		config Config
		want   string
	}{
		{"other file type", edit(0, "PK\x03\x04"), Config{}, "not a snapshot"},
		{"older version", edit(4, "\x01"), Config{}, "version 1, this program reads versions 2 to 4"},
		{"other limits", good, Config{MaxOrders: 5}, "start with the limits of the snapshot"},
		{"extra bytes in the payload", withChecksum(append(bytes.Clone(good), "spare"...)),
			Config{}, "5 bytes are left"},
	} {
		if err := mustNew(t, c.config).Restore(bytes.NewReader(c.data)); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %q in it", c.name, err, c.want)
		}
	}
}

func TestReadAndWriteErrorsAreReported(t *testing.T) {
	broken := errors.New("disk on fire")
	if err := traded(t).Snapshot(writerFunc(func([]byte) (int, error) {
		return 0,
			broken
	})); !errors.Is(err, broken) {
		t.Errorf("snapshot returned %v", err)
	}
	data := snapshot(t, traded(t))
	r := io.MultiReader(bytes.NewReader(data[:60]),
		readerFunc(func([]byte) (int, error) { return 0, broken }))
	if err := mustNew(t, Config{}).Restore(r); !errors.Is(err, broken) {
		t.Errorf("restore returned %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
