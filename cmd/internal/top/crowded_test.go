package top

import (
	"fmt"
	"math"

	"sluice/actors/node/observe/status"
	"sluice/telemetry"
)

// crowded is a snapshot with as much of everything as a server can have.
func crowded() *status.Snapshot {
	s := exampleSnapshot()
	s.Gate = status.Gate{}
	s.Policy = "(persisted>=2 && in_memory>=3) || (persisted>=3 && in_memory>=2)"
	s.PolicyName = "two-disks-in-two-different-availability-zones"
	s.Engine, s.Fallback, s.Note = "poll", true, "io_uring is not to be had"
	s.Clients, s.Blocked, s.Up = 16384, 12345, 1e7
	s.Sequenced, s.Persisted = 98_765_432_101, 98_765_420_000
	s.Queues = status.Queues{Requests: status.Queue{Depth: 4_000_000, Cap: 4 << 20},
		Gate:   status.Queue{Depth: 65_536, Cap: 65_536},
		Encode: status.Queue{Depth: 65_000, Cap: 65_536},
		Egress: status.Queue{Depth: 15 << 20, Cap: 16 << 20}, Buffered: 3 << 30}
	s.Tracing = status.Tracing{Connection: 1<<40 + 12345, Left: 1_000_000}
	s.Points, s.Stages, s.Shards, s.Slow = nil, nil, nil, nil
	for i := range status.Kept {
		wave := 1 + .5*math.Sin(float64(i)/20)
		s.Points = append(s.Points, status.Point{
			N: uint64(i + 1), Requests: 987_654 * wave, Events: 987_654 * wave, Commits: 1234,
			Released: 1.2e6 * wave, Encoded: 1.2e6 * wave, Responses: 1.2e6 * wave, Bytes: 1.5e9,
			Whole: &status.Latency{Count: 1, Mean: 5e5, P50: uint64(4e5 * wave),
				P99: uint64(3e6 * wave), P999: uint64(2e7 * wave), Max: 5e7},
		})
	}
	for stage := range telemetry.Stage(telemetry.NumStages) {
		s.Stages = append(s.Stages,
			status.Stage{Name: stage.Name(),
				Latency: &status.Latency{Count: 12_345_678, Mean: 999e3, P50: 999e3, P99: 99.9e6,
					P999: 999e6, Max: 2e9}})
	}
	for i := range 16 {
		s.Shards = append(s.Shards,
			status.Shard{Shard: i, Responses: 99_949 / float64(1+i%3), Busy: .99, Clients: 1024,
				Blocked: 1023 * (i % 2), Buffered: 255 << 20})
	}
	for i := range 8 {
		s.Slow = append(s.Slow, status.Client{ID: 1<<40 + uint64(i),
			From:  fmt.Sprintf("[2001:db8:1234:5678:9abc:def0:1234:%04x]:54321", i),
			State: []string{"slow", "blocked", "closing"}[i%3], Unsent: 1023 << 10, Lag: 100})
	}
	s.Topics, s.Subscriptions = 65_536, 10_000_000
	for i := range 8 {
		s.Busiest = append(s.Busiest, status.Topic{ID: 1<<63 + uint64(i), Name: "depth/4294967295",
			Subscribers: 16_000, Waiting: 384, Frames: 987_654, Deliveries: 25e6, Behind: 1023 << 20, Gaps: 99_999,
			Feeds: 16_000, Memory: 1023 << 20})
	}
	for i := range 5 {
		s.Ended = append(s.Ended, status.Ended{From: s.Slow[i].From, Reason: "heartbeat_timeout",
			Ago: 7000, Unsent: 1023 << 10})
	}
	for r := range telemetry.DropReason(telemetry.NumDropReasons) {
		s.Dropped = append(s.Dropped, status.Drop{Reason: r.Name(), Count: 1_234_567})
	}
	return s
}
