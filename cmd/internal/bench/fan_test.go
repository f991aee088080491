package bench

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"sluice/transport/wire"
)

// fanned is a short run with topics.
func fanned(t *testing.T, server string, change func(*Spec)) Spec {
	t.Helper()
	s := small(server, func(s *Spec) {
		s.Rate, s.Fan = 500, Fan{Topics: 2, Subscribers: 4, Each: 1, Mode: "recover", Ahead: 256}
		change(s)
	})
	if err := s.settleTopics(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTopicFramesAreDelivered(t *testing.T) {
	for _, load := range []struct {
		name   string
		change func(*Spec)
	}{
		{"at a rate", func(*Spec) {}},
		{"at full speed", func(s *Spec) { s.Rate = 0 }},
		{"several topics of a client", func(s *Spec) { s.Fan.Topics, s.Fan.Each = 4, 2 }},
		{"all topics of each client", func(s *Spec) { s.Fan.Topics, s.Fan.Each, s.Rate = 4, 4, 0 }},
		{"between own responses", func(s *Spec) { s.Fan.Own = 50 }},
		{"between own responses at full speed", func(s *Spec) { s.Fan.Own, s.Rate = 50, 0 }},
		{"beside stalled clients", func(s *Spec) { s.Stalled = 2 }},
		{"every frame", func(s *Spec) { s.Fan.Mode = "every" }},
		{"the latest frames", func(s *Spec) { s.Fan.Mode = "latest" }},
		{"over TLS at full speed", func(s *Spec) { s.Net, s.Rate, s.Fan.Own = tlsNet, 0, 50 }},
	} {
		for _, server := range []string{"sluice", slotsServer, "loop", "channels"} {
			s := small(server, load.change)
			if server != "sluice" && server != slotsServer && (s.Fan.Own > 0 || s.Stalled > 0) {
				continue
			}
			if testing.Short() && server != "sluice" {
				continue
			}
			t.Run(server+" "+load.name, func(t *testing.T) {
				res := measured(t, fanned(t, server, load.change))
				if res.Faults != (Faults{}) || res.Sent == 0 {
					t.Errorf("faults %v in %d frames; %s", res.Faults, res.Sent, res.First)
				}
				if res.Counts.Closed > 0 {
					t.Errorf("counts %+v", res.Counts)
				}
				if s.Rate > 0 && server != slotsServer && (res.Last[0] <= 0 || res.Last[1] < res.Last[0]) {
					t.Errorf("p50 and p99 of the last client %v", res.Last)
				}
			})
		}
	}
}

// The last client of a frame is that of all receivers, and frames outside the measured time do not count.
func TestLatencyOfTheLastClient(t *testing.T) {
	a, b := &receiver{from: 100, to: 200, last: make([]int64, 4)}, &receiver{from: 100, to: 200, last: make([]int64, 4)}
	a.reached(0, 99, 1000)
	for _, latency := range []int64{30, 70, 50} {
		a.reached(1, 100, 100+latency)
	}
	b.reached(1, 100, 140)
	b.reached(2, 150, 240)
	a.reached(3, 200, 1000)
	a.reached(4, 150, 1000) // there is no room for it
	got := lastReached([]*receiver{a, b})
	if got.TotalCount() != 2 || got.Min() != 70 || got.Max() != 90 {
		t.Errorf("%d frames, %d to %d ns; want 2, 70 to 90", got.TotalCount(), got.Min(), got.Max())
	}
}

// topicReader is a client of topics 3 and 4 of 5.
func topicReader(mode string) *reader {
	spec := &Spec{Server: "sluice", Connections: 5, Fan: Fan{Topics: 5, Subscribers: 2, Each: 2, Mode: mode}}
	return &reader{check: checker{conn: 3}, topics: newSubscriptions(spec, 2)}
}

func TestCheckOfTopicFrames(t *testing.T) {
	data := func(topic, seq uint64) string {
		return string(AppendTopicFrame(nil, topic, seq, &Report{Stamp: 1, Size: 40}))
	}
	begin := string(wire.AppendSnapshotEnd(nil, 3, 0)) + string(wire.AppendSnapshotEnd(nil, 4, 0))
	gap := func(topic, seq uint64) string { return string(wire.AppendGap(nil, topic, seq)) }
	joined := func(topic, seq uint64) string { return string(wire.AppendSnapshotEnd(nil, topic, seq)) }
	for _, tt := range []struct {
		name, mode, stream string
		want               Faults
		skipped            uint64
	}{
		{"both topics", "recover", data(3, 1) + data(4, 1) + data(3, 2), Faults{}, 0},
		{"a gap", "recover", data(3, 1) + data(3, 3), Faults{Gaps: 1}, 0},
		{"a repetition", "recover", data(3, 1) + data(3, 1), Faults{Repeats: 1}, 0},
		{"a topic of others", "recover", data(2, 1), Faults{Foreign: 1}, 0},
		{"the first topic, of which it is no subscriber", "recover", data(1, 1), Faults{Foreign: 1}, 0},
		{"a gap that was announced", "recover", data(3, 1) + gap(3, 4) + joined(3, 5) + data(3, 6), Faults{}, 4},
		{"a gap after an announced one", "recover", gap(3, 4) + joined(3, 5) + data(3, 7), Faults{Gaps: 1}, 5},
		{"a snapshot without a gap", "recover", data(3, 1) + joined(3, 2), Faults{Gaps: 1}, 0},
		{"a jump", "latest", data(3, 1) + data(3, 4), Faults{}, 2},
		{"a step back", "latest", data(3, 4) + data(3, 2), Faults{Repeats: 1}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, step := range []int{1, 7, 64, 1 << 20} { // bytes of a read
				c := topicReader(tt.mode)
				r := &receiver{}
				frames := uint64(0)
				for rest := []byte(begin + tt.stream); len(rest) > 0; {
					n := min(step, len(rest))
					got, err := r.parseTopics(c, append(slices.Clone(c.rest), rest[:n]...), 1)
					if err != nil {
						t.Fatal(err)
					}
					frames, rest = frames+got, rest[n:]
				}
				if c.check.faults != tt.want || c.topics.skipped != tt.skipped || len(c.rest) > 0 {
					t.Errorf("reads of %d bytes: faults %v, %d skipped; %s", step, c.check.faults,
						c.topics.skipped, c.check.first)
				}
				if want := uint64(strings.Count(tt.stream, data(3, 1)[:6])); frames != want {
					t.Errorf("%d frames, want %d", frames, want)
				}
			}
		})
	}
}

func TestCheckOfTopicFramesDetectsATornStream(t *testing.T) {
	for _, stream := range []string{"\xff\xff\xff\xff\x0f\x81", "\x03\x00\x00\x00\x0f\x83\x00",
		"\x20\x00\x00\x00\x31\x00"} {
		if _, err := (&receiver{}).parseTopics(topicReader("recover"), []byte(stream), 1); err == nil {
			t.Errorf("%x passes", stream)
		}
	}
}

func TestCheckOfTopicsAtTheEnd(t *testing.T) {
	c := topicReader("recover")
	published := []uint64{9, 9, 2, 1, 9}
	for seq := range uint64(2) {
		c.topicFrame(3, seq+1)
	}
	c.topics.end(&c.check, published)
	if c.check.faults.Short != 1 || c.topics.expected(published) != 3 {
		t.Errorf("faults %v, %d frames expected", c.check.faults, c.topics.expected(published))
	}
}

// A topic frame of the benchmark is that of the specification.
func TestTopicFrameIsATopicData(t *testing.T) {
	frame := AppendTopicFrame(nil, 7, 8, &Report{Conn: 1, Seq: 2, Stamp: 3, Size: 46})
	d, ok := wire.DecodeTopicData(frame[5:])
	if !ok || len(frame) != 64 || binary.LittleEndian.Uint32(frame) != 60 || frame[4] != wire.TagExtended ||
		d.Topic != 7 || d.Seq != 8 || d.Tag != frameTag || binary.LittleEndian.Uint64(d.Body[8:]) != 2 {
		t.Errorf("%x", frame)
	}
}

// Every client has the number of topics that the plan says, and every topic the number of clients.
func TestTopicsDivideEvenly(t *testing.T) {
	for _, f := range []Fan{{Topics: 1, Subscribers: 7, Each: 1}, {Topics: 64, Subscribers: 4, Each: 64},
		{Topics: 12, Subscribers: 2, Each: 6}, {Topics: 10, Subscribers: 1, Each: 5},
		{Topics: 10, Subscribers: 10, Each: 2}} {
		f.Mode = "recover"
		s := Spec{Server: "sluice", Frame: 64, Fan: f}
		if err := s.settleTopics(); err != nil {
			t.Fatal(err)
		}
		clients, firsts := s.Groups()
		of := make([]int, s.Connections)
		for topic := range firsts {
			n := 0
			for _, first := range firsts[topic] {
				n += len(clients[first])
				for _, client := range clients[first] {
					of[client]++
				}
			}
			if n != f.Subscribers {
				t.Errorf("%+v: topic %d has %d subscribers", f, topic, n)
			}
		}
		if slices.Min(of) != f.Each || slices.Max(of) != f.Each {
			t.Errorf("%+v: clients have %v topics", f, of)
		}
	}
}

func TestPlansOfTopicsThatAreNotPossible(t *testing.T) {
	for _, tt := range []struct {
		text   string
		change func(*Plan)
	}{
		{"knows no topics", func(p *Plan) { p.Peer = []string{"goroutines"} }},
		{"more topics than there are", func(p *Plan) { p.Fan.Each = []string{"3"} }},
		{"do not divide evenly", func(p *Plan) {
			p.Fan.Topics, p.Fan.Subscribers, p.Fan.Each = []string{"6"}, []string{"2"}, []string{"3"}
		}},
		{"at least 47 bytes", func(p *Plan) { p.Frame = []string{"46"} }},
		{"no limits for clients", func(p *Plan) { p.Peer, p.Stalled = []string{"loop"}, []string{"10"} }},
		{"serves topics only", func(p *Plan) { p.Peer, p.Fan.Topics = []string{"loop"}, []string{"0"} }},
		{"--modes has", func(p *Plan) { p.Fan.Mode = []string{"all"} }},
		{"leave it out", func(p *Plan) { p.Churn = []string{"5"} }},
	} {
		p := DefaultPlan()
		p.Peer, p.Fan.Topics = []string{"sluice"}, []string{"2"}
		tt.change(&p)
		if _, err := p.Specs(); err == nil || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("error %v, want %q", err, tt.text)
		}
	}
}
