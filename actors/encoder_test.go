package actors

import (
	"testing"
	"time"

	"sluice/actors/internal/run"
	"sluice/actors/internal/shard"
	"sluice/encode"
	"sluice/telemetry"
	"sluice/transport"
)

// encoded runs gate and encoder on the published slots and returns the records and frames that
// reach the shard.
func encoded(b *table) (records []shard.Record, frames []string) {
	b.t.Helper()
	b.persist()
	for b.gate.Step(b.now)+b.encoder.Step(b.now) > 0 {
	}
	inbox := b.shards[0].Frames()
	for {
		raw, ok := inbox.Next()
		if !ok {
			inbox.Release()
			return records, frames
		}
		records, frames = append(records, *shard.RecordIn(raw)), append(frames,
			string(raw[shard.RecordBytes:]))
	}
}

func TestEncodeMakesOneUnitOfPayloadAndBatchEnd(t *testing.T) {
	report, err := askEncoder{}.AppendReport(nil, &tick{n: 1, size: 20})
	if err != nil {
		t.Fatal(err)
	}
	framing := encode.Framing{}
	end := string(framing.AppendControl(nil, encode.Control{Kind: encode.ControlBatchEnd, Request: 42}))
	refused := string(framing.AppendControl(nil, encode.Control{Kind: encode.ControlEngineError,
		Request: 42, Refusal: encode.RefusedRole}))
	for _, c := range []struct {
		name string
		kind Kind
		last bool
		bad  fault
		want string
		flag uint32
	}{
		{"a report", KindReport, false, 0, string(report), 0},
		{"the last report of a request", KindReport, true, 0, string(report) + end,
			shard.RecordLast},
		{"a query's answer", KindQuery, true, 0,
			"\x01\x00\x00\x00" + string(rune(askTag)) + end, shard.RecordLast},
		{"an engine error", KindEngineError, false, 0, refused, 0},
		{"the last engine error", KindEngineError, true, 0, refused + end,
			shard.RecordLast},
		{"a batch end ends a request by itself", KindBatchEnd, false, 0, end,
			shard.RecordLast},
		{"an error sends neither payload nor BatchEnd", KindReport, true, faultError, "encode: encoder refused a report: unexpected EOF",
			shard.RecordFailed},
		{"nor does a panic", KindReport, true, faultPanic,
			"encode: encoder panicked on a report: planted", shard.RecordFailed},
		{"nor does a frame that is too large", KindReport, true, faultLarge,
			"encode: report of 1048576 bytes is larger than the limit of 512: raise the maximum frame size or send less",
			shard.RecordFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTable(t, nil)
			b.say(7, func(s *Slot[tick, struct{}]) {
				s.Kind, s.Last, s.Report = c.kind, c.last, tick{n: 1, size: 20, bad: c.bad}
				s.Request, s.Refusal = 42, encode.RefusedRole
			})
			records, frames := encoded(b)
			if len(frames) != 1 || frames[0] != c.want {
				t.Fatalf("got %q, want %q", frames, c.want)
			}
			if r := records[0]; r.Conn != 7 ||
				r.Flags&(shard.RecordLast|shard.RecordFailed) != c.flag {
				t.Errorf("record %+v, want connection 7 with flags %#x", r, c.flag)
			}
		})
	}
}

func TestEncodeCountsFaultsByKind(t *testing.T) {
	b := newTable(t, nil)
	for _, bad := range []fault{faultError, faultPanic, faultPanic, faultLarge, faultLarge,
		faultLarge, faultNone} {
		b.say(1, func(s *Slot[tick, struct{}]) { s.Report.bad = bad })
	}
	encoded(b)
	for c, want := range map[telemetry.Counter]uint64{
		telemetry.EncodeErrors: 1, telemetry.EncodePanics: 2, telemetry.EncodeOversized: 3, telemetry.EncodeFrames: 7,
	} {
		if got := b.sum(c); got != want {
			t.Errorf("%s = %d, want %d", c.Info().Name, got, want)
		}
	}
}

// A second after the last line the log accounts for the errors since then, although no further one
// comes.
func TestEncodeErrorsWithoutALogLineAreCounted(t *testing.T) {
	log := new(logBook)
	b := newTable(t, func(c *Config) { c.Log = log.logger() })
	fail := func(n int) {
		for range n {
			b.say(1, func(s *Slot[tick, struct{}]) { s.Report.bad = faultError })
		}
		b.persist()
		b.settle()
	}
	fail(10)
	b.pass(900*time.Millisecond, 300*time.Millisecond)
	fail(5)
	if lines, n := log.lines("could not be encoded"), log.sum("left_out"); lines != 1 || n != 0 {
		t.Errorf("%d lines and %d left out within a second, want 1 and 0", lines, n)
	}
	b.pass(200*time.Millisecond, 100*time.Millisecond)
	if n := log.sum("left_out"); n != 14 {
		t.Errorf("%d left out after a second, want 14", n)
	}
	b.pass(2*time.Second, time.Second)
	if lines := log.lines("left_out"); lines != 2 {
		t.Errorf("%d lines after three seconds, want the first and its number", lines)
	}
}

func TestEncodeWaitsForRoomAndLosesNothing(t *testing.T) {
	b := newTable(t, func(c *Config) { c.FrameRing = 8192; c.MaxFrame = 512 })
	const n = 100
	for range n {
		b.saySize(1, 500)
	}
	b.persist()
	b.gate.Step(b.now)
	got, last := 0, uint64(0)
	for got < n {
		for b.encoder.Step(b.now) > 0 {
		}
		inbox := b.shards[0].Frames()
		raw, ok := inbox.Next()
		if !ok {
			t.Fatalf("%d of %d records arrived", got, n)
		}
		r := shard.RecordIn(raw)
		if r.Seq != last+1 {
			t.Fatalf("seq %d follows %d", r.Seq, last)
		}
		k := max(int(r.Flags>>shard.RecordCount), 1)
		last += uint64(k)
		got += k
		inbox.Release()
	}
	if b.sum(telemetry.MailboxFull) == 0 {
		t.Error("the ring was never full: this run shows nothing")
	}
}

func TestEncodePutsOvertakingSlotsBeforeLaterOnesOfTheirConnection(t *testing.T) {
	b := newTable(t, nil)
	b.say(1, nil)
	b.say(2, func(s *Slot[tick, struct{}]) { s.Bypass = true })
	b.say(2, nil)
	for b.gate.Step(b.now) > 0 {
	}
	if n := b.sum(telemetry.GateOvertaken); n != 1 {
		t.Fatalf("%d slots overtook, want 1", n)
	}
	var order []uint64
	records, _ := encoded(b) // only now, when both the lane and the ring have slots
	for _, r := range records {
		order = append(order, r.Seq)
	}
	if len(order) != 3 || order[0] != 2 || order[1] != 1 || order[2] != 3 {
		t.Errorf("encoded in the order %v, want 2 1 3", order)
	}
}

// A shard on another goroutine that takes frames wakes the encoder only if the encoder found its ring
// full.
func TestRoomInAnotherGroupWakesOnlyIfAwaited(t *testing.T) {
	b := newTable(t, func(c *Config) { c.Shards, c.Placement, c.FrameRing = 2, PlacementFront, 64<<10 })
	front := b.runner.Groups()[0]
	token := run.Token(front.Idle)
	conn := uint64(1)
	for transport.Shard(transport.Hash(conn), 2) != 1 {
		conn++
	}
	release := func() {
		inbox := b.shards[1].Frames()
		for _, ok := inbox.Next(); ok; _, ok = inbox.Next() {
		}
		inbox.Release()
	}
	encode := func() {
		b.saySize(conn, 1000)
		b.persist()
		for b.gate.Step(b.now)+b.encoder.Step(b.now) > 0 {
		}
	}
	for trip := range 3 {
		encode()
		front.Signal().Prepare()
		release()
		if len(token) != 0 {
			t.Fatalf("trip %d: the encoder's group is woken by room that it does not wait for", trip)
		}
		front.Signal().Cancel()
		for b.encoder.slots.Len() == 0 {
			encode()
		}
		front.Signal().Prepare()
		release()
		if len(token) != 1 {
			t.Fatalf("trip %d: the encoder's group is not woken by room that it waits for", trip)
		}
		front.Signal().Cancel()
		for b.encoder.slots.Len() > 0 {
			b.encoder.Step(b.now)
			release()
		}
		<-token
	}
}
