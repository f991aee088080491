package telemetry

import (
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"testing"
)

func TestEveryCounterAndMarkHasAName(t *testing.T) {
	help := map[string]string{}
	seen := map[string]bool{}
	check := func(what string, n int, i Info) {
		if i.Name == "" || i.Unit == "" || !strings.HasSuffix(i.Help, ".") ||
			(i.Label == "") != (i.Value == "") {
			t.Errorf("%s %d is not described: %+v", what, n, i)
		}
		if seen[i.title()] {
			t.Errorf("%s %d: %q is described twice", what, n, i.title())
		}
		seen[i.title()] = true
		if h, ok := help[i.Name]; ok && h != i.Help {
			t.Errorf("%q has two sentences", i.Name)
		}
		help[i.Name] = i.Help
	}
	for c := range NumCounters {
		check("counter", c, Counter(c).Info())
	}
	for m := range NumMarks {
		check("mark", m, Mark(m).Info())
	}
	for s := range NumStages {
		if Stage(s).Name() == "" {
			t.Errorf("stage %d has no name", s)
		}
	}
}

func TestCloseReasonDeterminesDropReason(t *testing.T) {
	want := map[CloseReason]DropReason{
		ClosePeerReset: DropClientGone, CloseStalled: DropSlowClient, CloseShardBudget: DropSlowClient,
		CloseSendError: DropSendError, CloseEncodeError: DropEncodeError, CloseFenced: DropFenced,
		CloseShutdown: DropShutdown, CloseKicked: DropKicked,
	}
	for r, d := range want {
		if r.Drop() != d {
			t.Errorf("%s drops as %s, want %s", r.Name(), r.Drop().Name(), d.Name())
		}
	}
}

// filled returns a collector with histograms, counters, marks and gauges.
func filled() *Collector {
	c := NewCollector(NewClock())
	second, gate, first := c.Register("egress", 1), c.Register("gate", NoShard), c.Register("egress", 0)
	for i := range uint64(1000) {
		gate.B.H[StageGate].Record(i * 100)
		first.B.H[StageWhole].Record(i * 1000)
	}
	gate.B.Batch.RecordN(64, 15)
	gate.B.C[GateSlots] = 1000
	first.B.C[EgressSendOK], second.B.C[EgressSendOK] = 990, 10
	second.B.C[DropSlowClient.Counter()] = 3
	second.B.C[CloseSlowHard.Counter()] = 1
	second.B.Mark(MarkBuffered, 1<<20)
	for _, r := range []*Recorder{first, second, gate} {
		r.Park()
	}
	c.Gauge(GateOldestAge, NoShard, "", func() float64 { return 0.25 })
	c.Gauge(EgressBuffered, 1, "", func() float64 { return 4096 })
	c.Gauge(SequencerQueueCapacity, NoShard, "", func() float64 { return 4 << 20 })
	c.Final()
	return c
}

func TestTextMatchesGoldenFile(t *testing.T) {
	var got strings.Builder
	if err := filled().WriteText(&got); err != nil {
		t.Fatal(err)
	}
	const path = "testdata/totals.txt"
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%s\nwant (-update writes it)\n%s", got.String(), want)
	}
}

func TestDurationsHaveThreeSignificantDigits(t *testing.T) {
	for ns, want := range map[uint64]string{
		0: "0s", 7: "7ns", 999: "999ns", 1234: "1.23µs", 12_345: "12.3µs", 123_456: "123µs",
		1_999_999_999: "2s",
	} {
		if got := duration(ns); got != want {
			t.Errorf("%d ns is %q, want %q", ns, got, want)
		}
	}
}

type brokenPipe struct{ writes int }

var errBroken = errors.New("broken pipe")

func (b *brokenPipe) Write([]byte) (int, error) { b.writes++; return 0, errBroken }

func TestWriteErrorIsReturnedAndStopsWriting(t *testing.T) {
	w := &brokenPipe{}
	if err := filled().WriteText(w); !errors.Is(err, errBroken) || w.writes != 1 {
		t.Errorf("error %v after %d writes", err, w.writes)
	}
	if err := filled().WriteText(io.Discard); err != nil {
		t.Error(err)
	}
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write testdata/*.txt instead of comparing")
	os.Exit(m.Run())
}
