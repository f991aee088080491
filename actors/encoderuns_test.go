package actors

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/actors/internal/shard"
	"sluice/encode"
	"sluice/telemetry"
)

// packed is what the encoder put into the ring of a shard.
type packed struct {
	text    string   // a word for each record: connection:slots
	reports []uint64 // numbers of the reports in the frames
	seqs    []uint64 // of the records
}

// unpack takes what is in the ring of the first shard.
func (p *packed) unpack(b *table) {
	b.t.Helper()
	words := strings.Fields(p.text)
	inbox := b.shards[0].Frames()
	for {
		raw, ok := inbox.Next()
		if !ok {
			inbox.Release()
			p.text = strings.Join(words, " ")
			return
		}
		r := shard.RecordIn(raw)
		n := int(r.Flags >> shard.RecordCount)
		word, frames := fmt.Sprintf("%d:%d", r.Conn, n), raw[shard.RecordBytes+n*shard.UnitBytes:]
		switch {
		case r.Flags&shard.RecordFailed != 0:
			word, frames = fmt.Sprintf("%d:failed", r.Conn), nil
		case r.Flags&shard.RecordTraced != 0:
			word = fmt.Sprintf("%d:traced", r.Conn)
		case n == 0 && r.Flags>>shard.RecordKind == uint32(KindTopic):
			word, frames = fmt.Sprintf("topic %d", r.Conn), nil
		case n == 0:
			word = fmt.Sprint(r.Conn)
		}
		words, p.seqs = append(words, word), append(p.seqs, r.Seq)
		for len(frames) > 0 { // those of the pipeline itself have other tags
			size := 4 + int(binary.LittleEndian.Uint32(frames))
			if size > len(frames) {
				break // the trace context behind them
			}
			if frames[4] == tickTag {
				p.reports = append(p.reports, binary.LittleEndian.Uint64(frames[5:]))
			}
			frames = frames[size:]
		}
	}
}

// grouping makes rows of at least n slots worth grouping.
func grouping(n int) func(c *Config) { return func(c *Config) { c.runLeast = n } }

func TestEncodeMakesOneRecordOfTheSlotsOfAConnectionInARow(t *testing.T) {
	type edit = func(s *Slot[tick, struct{}])
	bad := func(f fault) edit { return func(s *Slot[tick, struct{}]) { s.Report.bad = f } }
	for _, c := range []struct {
		name  string
		conns string
		edits map[int]edit
		want  string
	}{
		{"a row", "122131", nil, "1:3 2:2 3"},
		{"a row that is too short", "111", nil, "1 1 1"},
		{"one connection", "1111", nil, "1:4"},
		{"a connection each", "1234", nil, "1 2 3 4"},
		{"a traced slot", "112111", map[int]edit{3: func(s *Slot[tick, struct{}]) {
			s.Parent = telemetry.Parent{TraceID: [16]byte{1}, Flags: 1}
		}}, "1:2 1:traced 1:2 2"},
		{"a response that failed", "112111", map[int]edit{3: bad(faultError)}, "1:2 1:failed 1:2 2"},
		{"a panic", "112111", map[int]edit{3: bad(faultPanic)}, "1:2 1:failed 1:2 2"},
		{"the first and the last failed", "1111", map[int]edit{0: bad(faultPanic), 3: bad(faultLarge)},
			"1:failed 1:2 1:failed"},
		{"a response to an older request", "11112", map[int]edit{2: func(s *Slot[tick, struct{}]) { s.Received-- }},
			"1:2 1:2 2"},
		{"a response to a much younger request", "11112", map[int]edit{
			2: func(s *Slot[tick, struct{}]) { s.Received += 1 << 32 }}, "1:2 1 1 2"},
		{"a frame of a topic", "12121212", map[int]edit{
			4: func(s *Slot[tick, struct{}]) { s.SetTopic(9, 1, 0, 1) }}, "1:2 2:2 topic 9 2 1 2"},
		{"queries and refusals", "1111", map[int]edit{
			1: func(s *Slot[tick, struct{}]) { s.Kind = KindQuery },
			2: func(s *Slot[tick, struct{}]) { s.Kind = KindBatchEnd }}, "1:4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTable(t, grouping(4))
			failed := 0
			for i, conn := range c.conns {
				b.say(uint64(conn-'0'), func(s *Slot[tick, struct{}]) {
					if s.Request = s.Report.n; c.edits[i] != nil {
						c.edits[i](s)
					}
					if s.Report.bad != faultNone {
						failed++
					}
				})
			}
			b.persist()
			var p packed
			for b.gate.Step(b.now)+b.encoder.Step(b.now) > 0 {
			}
			if p.unpack(b); p.text != c.want {
				t.Errorf("records %q, want %q", p.text, c.want)
			}
			topics := int(b.sum(telemetry.EncodeTopics))
			if n := b.sum(telemetry.EncodeFrames); int(n) != len(c.conns)-topics {
				t.Errorf("%d frames counted for %d slots", n, len(c.conns))
			}
			if n := b.sum(telemetry.EncodeErrors) + b.sum(telemetry.EncodePanics) +
				b.sum(telemetry.EncodeOversized); int(n) != failed {
				t.Errorf("%d failures counted, want %d", n, failed)
			}
		})
	}
}

// The unit of each response in a run says what the ledger and a later owner of the id need.
func TestEncodeDescribesEachResponseOfARun(t *testing.T) {
	b := newTable(t, grouping(2))
	began := b.now
	for i, conn := range []uint64{7, 8, 7, 7} {
		b.now = began + int64(i)*1000
		b.say(conn, func(s *Slot[tick, struct{}]) {
			s.Request, s.Last, s.Report.size = 40+uint64(i), i == 2, 20+i
		})
	}
	b.persist()
	b.gate.Step(b.now)
	b.encoder.Step(b.now)
	raw, _ := b.shards[0].Frames().Next()
	r := shard.RecordIn(raw)
	want := []shard.Unit{
		shard.NewUnit(20, 0, false, 0),
		shard.NewUnit(22+encode.BatchEndBytes, 2, true, 2000),
		shard.NewUnit(23, 3, false, 3000),
	}
	got := shard.UnitsIn(raw, int(r.Flags>>shard.RecordCount))
	if fmt.Sprint(got) != fmt.Sprint(want) || r.Position != 0 || r.Received != began ||
		r.Flags&shard.RecordUneven == 0 {
		t.Errorf("record %+v with units %#x, want %#x", r, got, want)
	}
	if n := len(raw) - shard.RecordBytes - 3*shard.UnitBytes; n != 20+22+23+encode.BatchEndBytes {
		t.Errorf("%d bytes of frames", n)
	}
}

// A full ring interrupts a row wherever it likes. Each slot is encoded once, and each connection's in order;
// what failed is not given to the application a second time.
func TestEncodeGoesOnWithARowBehindAFullRing(t *testing.T) {
	const slots = 240
	b := newTable(t, func(c *Config) { c.FrameRing, c.MaxFrame, c.runLeast, c.Batch = 8192, 512, 2, 256 })
	var want [3][]uint64
	for i := range uint64(slots) {
		conn := i * 7 % 3
		b.say(conn+1, func(s *Slot[tick, struct{}]) {
			s.Request, s.Report.size = i+1, 13+int(i*31%480)
			if i%11 == 5 {
				s.Report.bad = faultPanic
				return
			}
			want[conn] = append(want[conn], s.Report.n)
		})
	}
	b.persist()
	b.gate.Step(b.now)
	var p packed
	interrupted := 0
	for range slots {
		for b.encoder.Step(b.now) > 0 {
		}
		if b.encoder.runs.row > 0 {
			interrupted++
		}
		p.unpack(b)
	}
	if b.encoder.slots.Len() > 0 || interrupted == 0 {
		t.Fatalf("%d slots are left; a row was interrupted %d times", b.encoder.slots.Len(), interrupted)
	}
	var got [3][]uint64
	for _, n := range p.reports {
		conn := (n - 1) * 7 % 3
		got[conn] = append(got[conn], n)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("reports %v, want %v", got, want)
	}
	if n := b.sum(telemetry.EncodePanics); n != uint64(strings.Count(p.text, "failed")) || n != 22 {
		t.Errorf("%d panics for %d failed records, want 22", n, strings.Count(p.text, "failed"))
	}
}

// A pipeline that fails while a row is interrupted counts the slots that were not encoded, and no others.
func TestEncodeCountsTheRestOfAnInterruptedRow(t *testing.T) {
	const slots = 100
	b := newTable(t, func(c *Config) { c.FrameRing, c.MaxFrame, c.runLeast, c.Batch = 8192, 512, 2, 64 })
	for i := range uint64(slots) {
		b.say(i*7%5+1, func(s *Slot[tick, struct{}]) { s.Report.size = 300 })
	}
	b.persist()
	for b.gate.Step(b.now) > 0 {
	}
	for b.encoder.Step(b.now) > 0 {
	}
	encoded := b.sum(telemetry.EncodeFrames)
	if b.encoder.runs.row == 0 || encoded == 0 {
		t.Fatalf("no row is interrupted; %d slots are encoded", encoded)
	}
	b.encoder.leftover()
	b.Collector().Collect(0)
	if n := b.Collector().Sum().C[telemetry.DropFenced.Counter()]; n != slots-encoded {
		t.Errorf("%d slots counted as dropped, %d of %d were encoded", n, encoded, slots)
	}
}

// A slot that went ahead of a row is not in it, and the producer gets it back as it was.
func TestEncodeLeavesOutOfARowWhatWasSentAhead(t *testing.T) {
	b := newTable(t, func(c *Config) { c.runLeast, c.Slots = 2, 8 })
	for _, conn := range []uint64{1, 2, 1, 1, 3} {
		b.say(conn, func(s *Slot[tick, struct{}]) { s.Bypass = conn == 2 })
	}
	for b.gate.Step(b.now) > 0 {
	}
	b.persist()
	for b.gate.Step(b.now)+b.encoder.Step(b.now) > 0 {
	}
	var p packed
	if p.unpack(b); p.text != "2 1:3 3" {
		t.Errorf("records %q", p.text)
	}
	b.slots.Claim(3)
	b.slots.Commit(3)
	for i, s := range b.slots.Claim(5) { // the same ones again
		if s.overtaken {
			t.Errorf("slot %d is still marked", i)
		}
	}
}

// Of a run the response to the oldest request is the one that may be traced as slow.
func TestSlowResponseInARunIsTraced(t *testing.T) {
	b := newTable(t, func(c *Config) {
		c.runLeast = 2
		c.Sampler = telemetry.NewSampler(telemetry.Rules{SlowNanos: uint64(time.Second)})
	})
	b.join(1)
	began := b.now
	for i, received := range []int64{50, 20, 90, 10, 70} {
		b.now = began + received
		b.say(1, func(s *Slot[tick, struct{}]) { s.Report.size = 20 + i })
	}
	b.now = began + int64(2*time.Second)
	b.persist()
	b.settle()
	var got [2]telemetry.TraceRec
	n := 0
	for n < len(got) && b.Traces()[0].TryGet(&got[n]) {
		n++
	}
	if n != 1 || got[0].Seq != 4 || got[0].Bytes != 23+encode.BatchEndBytes ||
		got[0].Received != began+10 || got[0].Reason != telemetry.TraceReasonSlow {
		t.Errorf("traces %+v, want one of response 4", got[:n])
	}
}

// The ledger has the end-to-end time of each response of a run, whether all of the run leaves at once or a part.
func TestRunTimesAreThoseOfEachResponse(t *testing.T) {
	for name, taken := range map[string]int32{"all": 1000, "a part": 70} {
		t.Run(name, func(t *testing.T) {
			b := newTable(t, grouping(2))
			b.join(1)
			b.ring.answer = func(_ int32, n int) int32 { return min(int32(n), taken) }
			began, want := b.now, uint64(0)
			for i, received := range []int64{10, 50, 30, 20} { // 20 B and BatchEnd each
				b.now = began + received
				b.saySize(1, 20)
				if (i+1)*(20+encode.BatchEndBytes) <= int(taken) {
					want += uint64(1000 - received)
				}
			}
			b.now = began + 1000
			b.persist()
			b.settle()
			for _, a := range b.runner.Groups()[0].Actors {
				a.Park()
			}
			b.Collector().Collect(0)
			h := &b.Collector().Sum().H[telemetry.StageWhole]
			if h.Sum != want {
				t.Errorf("%d responses took %d ns, want %d", h.Count, h.Sum, want)
			}
		})
	}
}

// Rows in which each connection has a slot are grouped now and then only.
func TestEncodeRarelyGroupsWhatHasNothingInCommon(t *testing.T) {
	b := newTable(t, grouping(4))
	var p packed
	rows := func(n int, conns ...uint64) {
		p = packed{}
		for range n {
			for _, conn := range conns {
				b.say(conn, nil)
			}
			b.persist()
			b.gate.Step(b.now)
			b.encoder.Step(b.now)
			p.unpack(b)
		}
	}
	if rows(1, 1, 1, 2, 2); p.text != "1:2 2:2" {
		t.Fatalf("records %q", p.text)
	}
	rows(1, 1, 2, 3, 4)
	if rows(runRest, 1, 1, 2, 2); strings.Contains(p.text, ":") {
		t.Errorf("records %q, want no run", p.text)
	}
	if rows(1, 1, 1, 2, 2); p.text != "1:2 2:2" {
		t.Errorf("records %q behind the rest", p.text)
	}
}
