package top

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sluice/actors/node/observe/status"
)

// bare is a frame's lines without their colours.
func bare(t *testing.T, s *status.Snapshot, f Frame) []string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteFrame(&b, s, f); err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile("\x1b\\[[0-9;]+m").ReplaceAllString(b.String(), "")
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// A frame with any content fits its terminal, and at 80 by 24 it has all parts. `sluice top`
// reserves a line for errors.
func TestFrameFitsTerminal(t *testing.T) {
	shut := crowded()
	shut.Gate = status.Gate{Waiting: true, Wedged: true, Event: 7, Seconds: 75,
		Why: "waits for replication: needs persisted>=2 && in_memory>=3 at 98765420001, has " +
			"persisted 1 (node 1), in_memory 2 (nodes 1 and 2); 1 of 3 nodes is in view"}
	for name, s := range map[string]*status.Snapshot{"few": exampleSnapshot(), "crowded": crowded(),
		"shut": shut, "nothing": {Status: status.Status{State: "ready"}}} {
		for _, f := range []Frame{{60, 10, false}, {80, 23, true}, {80, 23, false}, {120, 39, true},
			{100, 0, false}, {200, 0, true}} {
			lines := bare(t, s, f)
			if f.Height > 0 && len(lines) > f.Height {
				t.Errorf("%s, %+v: %d lines", name, f, len(lines))
			}
			for _, line := range lines {
				if n := len([]rune(line)); n > f.Width || strings.Contains(line, "\x1b") {
					t.Errorf("%s, %+v: %d wide: %q", name, f, n, line)
				}
			}
			if f.Height == 10 {
				continue
			}
			text := strings.Join(lines, "\n")
			for _, want := range []string{"sluice  ", "readers ", "journal: ", "gate: ", "p99.9",
				"shard responses/s", "slow clients"} {
				if !strings.Contains(text, want) {
					t.Errorf("%s, %+v: no %q in\n%s", name, f, want, text)
				}
			}
			for _, c := range s.Slow[:min(3, len(s.Slow))] {
				if !strings.Contains(text, strconv.FormatUint(c.ID, 10)) {
					t.Errorf("%s, %+v: connection %d is missing or cut in\n%s", name, f, c.ID, text)
				}
			}
			if s.Gate.Wedged && !strings.Contains(strings.Join(strings.Fields(text), " "), s.Gate.Why) {
				t.Errorf("%s, %+v: the reason of the gate is missing:\n%s", name, f, text)
			}
		}
	}
}

// Topics have a line of their own, and a table where there is room.
func TestFrameShowsTopics(t *testing.T) {
	s := exampleSnapshot()
	s.Topics, s.Subscriptions = 3, 512
	s.Points[1].Topics, s.Points[1].Delivered, s.Points[1].Gaps = 1200, 1.5e6, 2
	s.Busiest = []status.Topic{
		{ID: 3<<56 + 7, Name: "depth/7", Subscribers: 500, Waiting: 2, Frames: 1000, Deliveries: 5e5, Behind: 5 << 20,
			Gaps: 12, Feeds: 4, Memory: 1 << 20},
		{ID: 99, Subscribers: 1}}
	for _, f := range []Frame{{Width: 100}, {Width: 100, Height: 40}} {
		text := strings.Join(bare(t, s, f), "\n")
		for _, want := range []string{"topics: 3, 512 subscriptions, 1,200 frames/s, 1.50 M deliveries/s, 2.0 gaps/s",
			"depth/7              502     1,000        500 k  5.00 MiB      12  1.00 MiB", "\n99     "} {
			if !strings.Contains(text, want) {
				t.Errorf("%+v: no %q in\n%s", f, want, text)
			}
		}
	}
	if text := strings.Join(bare(t, exampleSnapshot(), Frame{Width: 100}), "\n"); strings.Contains(text, "topic") {
		t.Errorf("topics of a server without any:\n%s", text)
	}
}

// A frame that is too low for all blocks below each other has a plot of the remaining height.
func TestLowFrameHasLowPlot(t *testing.T) {
	s := crowded()
	s.Shards, s.Slow, s.Ended, s.Dropped, s.Tracing = s.Shards[:2], nil, nil, nil, status.Tracing{}
	s.Topics, s.Busiest = 0, nil
	for _, tt := range []struct{ height, rows int }{{19, 0}, {20, 0}, {21, 2}, {22, 3}, {23, 4},
		{25, 6}, {29, 8}} {
		lines, rows := bare(t, s, Frame{Width: 80, Height: tt.height}), 0
		for _, line := range lines {
			if len([]rune(line)) > plotLeft &&
				strings.Trim(line[:plotLeft-1], "0123456789mµs ") == "" &&
				strings.ContainsAny(line, "•+×") {
				rows++
			}
		}
		title := func(l string) bool { return strings.HasPrefix(l, "response latency") }
		if slices.ContainsFunc(lines, title) != (tt.rows > 0) || rows > tt.rows || rows < tt.rows/2 {
			t.Errorf("height %d: %d rows of the plot have signs, want %d at most:\n%s", tt.height,
				rows, tt.rows, strings.Join(lines, "\n"))
		}
	}
}

func exampleSnapshot() *status.Snapshot {
	return &status.Snapshot{
		Status: status.Status{
			State: "ready", Up: 4000, Engine: "uring", Policy: "persisted>=1", PolicyName: "local",
			Clients: 64, Sequenced: 1234567, Persisted: 1234500,
			Gate: status.Gate{
				Waiting: true, Wedged: true, Event: 1234501, Seconds: 2.5,
				Why: "waits for journal: needs persisted>=1 at 1234501, is at 1234500",
			},
		},
		Points: []status.Point{{N: 1},
			{N: 2, Requests: 12345,
				Whole: &status.Latency{Count: 5, P50: 400_000, P99: 9_000_000, P999: 20_000_000}}},
		Shards: []status.Shard{{Shard: 0, Responses: 100},
			{Shard: 1, Responses: 50, Blocked: 1}}, Seconds: 10,
		Stages: []status.Stage{{Name: "gate",
			Latency: &status.Latency{Mean: 1e6, P50: 5e5, P99: 9e6, P999: 2e7}}, {Name: "send"}},
		Slow: []status.Client{{ID: 1<<40 + 7, From: "127.0.0.1:4711", State: "blocked",
			Unsent: 123456, Lag: 3}},
	}
}
