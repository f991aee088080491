package telemetry

import (
	"slices"
	"strings"
	"testing"
)

func TestSubtractLeavesWhatWasRecordedSince(t *testing.T) {
	record := func(total *HistTotal, values ...uint64) {
		h := new(Hist)
		for _, v := range values {
			h.Record(v)
		}
		total.add(h)
	}
	var now, earlier HistTotal
	record(&now, 5, 700, 80_000)
	earlier.Merge(&now)
	record(&now, 5, 9)
	now.Subtract(&earlier)
	var left []uint64
	now.Buckets(func(low, _, n uint64) { left = append(left, low, n) })
	if now.Count != 2 || now.Sum != 14 || !slices.Equal(left, []uint64{5, 1, 9, 1}) {
		t.Errorf("count %d, sum %d, buckets %v", now.Count, now.Sum, left)
	}
	now.Subtract(new(HistTotal))
	now.Reset()
	now.Buckets(func(low, _, n uint64) { t.Errorf("after Reset: %d times %d", n, low) })
	if now.Count != 0 || now.Sum != 0 || now.Max != 0 {
		t.Errorf("after Reset: %d %d %d", now.Count, now.Sum, now.Max)
	}
}

func TestGaugesWithOneNameDifferByLabel(t *testing.T) {
	c := NewCollector(NewClock())
	for i, box := range []string{"gate", "encode"} {
		c.Gauge(MailboxDepth, NoShard, box, func() float64 { return float64(i + 1) })
	}
	var out strings.Builder
	if err := c.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	gate, encode := strings.Index(out.String(),
		"mailbox_depth mailbox=gate    1"),
		strings.Index(out.String(), "mailbox_depth mailbox=encode  2")
	if encode < 0 || gate < encode {
		t.Errorf("missing or out of order:\n%s", out.String())
	}
}
