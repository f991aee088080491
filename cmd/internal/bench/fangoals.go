package bench

import (
	"fmt"
	"math"
	"slices"
)

// topicSections are the sections of the profile "topics".
func topicSections() []section {
	const how = " --io uring --warm 500ms"
	const most = " --rate 0 --seconds 1s" + how
	return []section{
		{"fan", "--topics 1 --subscribers 1000 --peer sluice,tape,loop,channels --shards 1,2 --runs 5" + most},
		{"fan-events", "--topics 1 --subscribers 256 --rate 2000 --peer sluice,tape,loop,channels --shards 1 " +
			"--runs 5 --seconds 1s" + how},
		{"fan-own", "--topics 1 --subscribers 256 --own 50 --peer sluice,slots --shards 1 --runs 5" + most},
		{"fan-sets", "--topics 1,64 --each 0 --subscribers 256 --peer sluice --shards 1 --runs 5" + most},
		{"fan-stalled", "--topics 1 --subscribers 200 --rate 2000 --stalled 0,10,50 --peer sluice --shards 1 " +
			"--runs 9 --seconds 700ms --io uring --warm 300ms"},
		{"fan-wide", "--topics 1 --subscribers 10000 --ahead 256 --peer sluice --shards 1 --runs 3" + most},
		{"fan-many", "--topics 1000 --subscribers 10 --ahead 256 --peer sluice --shards 1 --runs 3" + most},
	}
}

// topicGoals returns the goals of topics, which the profile "topics" judges.
func topicGoals() []goal {
	cpu := (*Result).serverCPU
	const what = "server CPU per delivered frame, 64 B, 1,000 subscribers of one topic, full speed, against "
	return []goal{
		{what + "the bare tape", "<= 1.5x", "fan", against("tape", cpu, 1.5)},
		{what + "a loop that encodes once", "<= 0.5x", "fan", against("loop", cpu, 0.5)},
		{what + "a goroutine for each subscriber", "<= 0.35x", "fan", against("channels", cpu, 0.35)},
		{"delivered and checked frames/s of that", ">= 15 M", "fan", throughput(15e6)},
		{"2,000 events/s to 256 subscribers: server CPU per frame against the loop", "<= 0.8x", "fan-events",
			against("loop", cpu, 0.8)},
		{"p50 of the last subscriber of that", "<= 1x", "fan-events",
			against("loop", func(r *Result) float64 { return r.Last[0] }, 1)},
		{"half of the frames are responses of one client: server CPU per frame against a slot for each client",
			"<= 0.7x", "fan-own", against(slotsServer, cpu, 0.7)},
		{"clients of 64 topics: server CPU per frame against clients of one", "<= 1.5x", "fan-sets",
			func(rows []*Row) verdictOf {
				topics := func(n int) *Row { return first(rows, func(s *Spec) bool { return s.Fan.Topics == n }) }
				return atMost(1.5, topics(64), topics(1), cpu)
			}},
		{"10 % of the subscribers stalled: p50 of the others", "<= 1.05x", "fan-stalled",
			pairsBesideStalled(0.1, (*Result).p50, 1.05)},
		{"10 % of the subscribers stalled: p99 of the others", "<= 1.25x", "fan-stalled",
			pairsBesideStalled(0.1, func(r *Result) float64 { return r.P99 }, 1.25)},
		{"memory over idle with 50 % of the subscribers stalled, against 10 %", "<= 1.1x", "fan-stalled",
			func(rows []*Row) verdictOf {
				return atMost(1.1, stalledRow(rows, 0.5), stalledRow(rows, 0.1), (*Result).overIdle)
			}},
		{"10,000 subscribers of one topic", "no frame is lost", "fan-wide", steadyTopics},
		{"1,000 topics with 10 subscribers each", "no frame is lost", "fan-many", steadyTopics},
	}
}

// stalledRow is the row with a share of stalled clients.
func stalledRow(rows []*Row, share float64) *Row {
	return first(rows, func(s *Spec) bool {
		return s.Stalled > 0 && math.Abs(float64(s.Stalled)/float64(s.Connections)-share) < 0.01
	})
}

// pairsBesideStalled judges the median of the ratios of rounds with a share of stalled clients to rounds
// without.
func pairsBesideStalled(share float64, of func(*Result) float64, limit float64) func([]*Row) verdictOf {
	return func(rows []*Row) verdictOf {
		r := stalledRow(rows, share)
		if r == nil || unstalled(rows, r) == nil {
			return verdictOf{share: math.NaN()}
		}
		base := unstalled(rows, r)
		var ratios []float64
		for i := range min(len(r.Results), len(base.Results)) {
			ratios = append(ratios, of(r.Results[i])/of(base.Results[i]))
		}
		slices.Sort(ratios)
		n := len(ratios)
		s := spread{(ratios[(n-1)/2] + ratios[n/2]) / 2, ratios[0], ratios[n-1]}
		v := within(limit, s, r, base)
		v.measured += fmt.Sprintf(", median of %d pairs", n)
		return v
	}
}

// steadyTopics is met if no frame is missing.
func steadyTopics(rows []*Row) verdictOf {
	r := own(rows, anything)
	if r == nil {
		return verdictOf{share: math.NaN()}
	}
	frames := r.of(func(res *Result) float64 { return res.Frames })
	lost := r.of(func(res *Result) float64 { return float64(res.Skipped) }).high
	v := verdictOf{measured: fmt.Sprintf("%s frames/s, %s us CPU per frame, %.0f frames lost", Amount(frames.mid),
		r.of((*Result).serverCPU).text(micro), lost), share: 1, reason: broken(r)}
	if lost > 0 && v.reason == "" {
		v.reason = "clients that read lost frames"
	}
	return v
}
