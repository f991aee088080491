package trade_test

import (
	"os"
	"path/filepath"
	"testing"

	"sluice/cmd/orderbook/trade"
)

// The directory was written by a program whose order book had no topics. It has five checkpoints of the
// digest of all outputs, and an event with the rules of today must have the outputs of then.
func TestJournalFromBeforeTopicsIsReplayed(t *testing.T) {
	dir := t.TempDir()
	old := os.DirFS(filepath.Join("testdata", "before-topics"))
	if err := os.CopyFS(filepath.Join(dir, "data"), old); err != nil {
		t.Fatal(err)
	}
	stop := serve(t, dir)
	defer stop()
	for _, want := range []struct {
		account      uint64
		instrument   uint32
		bought, sold uint64
		last         uint64
	}{
		{1, 0, 57, 33, 86}, {1, 1, 44, 38, 86}, {2, 0, 38, 41, 100}, {2, 1, 57, 49, 100},
		{3, 0, 36, 57, 73}, {3, 1, 38, 52, 73},
	} {
		c := open(t, dir, trade.Options{Account: want.account})
		p, err := c.Position(limited(t), want.instrument)
		if err != nil {
			t.Fatal(err)
		}
		if p.Bought != want.bought || p.Sold != want.sold || p.LastID != want.last {
			t.Errorf("position is %+v, want %+v", p, want)
		}
	}
}
