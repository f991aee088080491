package status

import (
	"sync"
	"time"

	"sluice/telemetry"
)

// Kept is the number of points of history: 5 minutes.
const Kept = 300

const (
	window = 10 // points that Snapshot.Stages covers

	numStages = telemetry.NumStages
)

// Point is what happened in one second. Rates are per second.
type Point struct {
	N         uint64   `json:"n"`         // 1, 2, 3 ... in this run
	At        int64    `json:"at"`        // end of the second, Unix time in ms
	Requests  float64  `json:"requests"`  // read from clients
	Events    float64  `json:"events"`    // sequenced
	Commits   float64  `json:"commits"`   // group commits of the journal
	Released  float64  `json:"released"`  // responses released by the gate
	Encoded   float64  `json:"encoded"`   // responses
	Responses float64  `json:"responses"` // responses whose last byte the kernel accepted
	Bytes     float64  `json:"bytes"`     // bytes the kernel accepted
	Topics    float64  `json:"topics"`    // topic frames encoded
	Delivered float64  `json:"delivered"` // topic frames whose last byte the kernel accepted, for each subscriber
	Gaps      float64  `json:"gaps"`      // subscriptions that lost frames
	Dropped   float64  `json:"dropped"`   // responses, for any reason
	Oldest    float64  `json:"oldest"`    // seconds that the first waiting response has waited
	Whole     *Latency `json:"whole"`     // from request to response in the kernel; nil without any
}

// Latency is a distribution of times in nanoseconds.
type Latency struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean"`
	P50   uint64  `json:"p50"`
	P99   uint64  `json:"p99"`
	P999  uint64  `json:"p999"`
	Max   uint64  `json:"max"` // exact if it is a record, else at most 3 % too high
}

func latencyOf(h *telemetry.HistTotal) *Latency {
	if h.Count == 0 {
		return nil
	}
	return &Latency{Count: h.Count, Mean: h.Mean(), P50: h.Quantile(0.5), P99: h.Quantile(0.99),
		P999: h.Quantile(0.999), Max: h.Max}
}

// between sets d to what was recorded between two states of a histogram. Its maximum is derived
// again: that of a total covers the whole run, and would replace every percentile that falls on the
// last value.
func between(d, before, now *telemetry.HistTotal) {
	d.Reset()
	d.Merge(now)
	d.Subtract(before)
	if now.Max > before.Max {
		return // the record was set in between
	}
	d.Max = 0
	d.Buckets(func(_, high, _ uint64) { d.Max = min(high-1, now.Max) })
}

// actorID identifies an actor.
type actorID struct {
	kind  string
	shard int
}

// gaugeKey identifies a registered gauge.
type gaugeKey struct {
	id    telemetry.GaugeID
	label string
	shard int
}

// tally is all counts up to a moment.
type tally struct {
	at     telemetry.Nanos
	stages [numStages]telemetry.HistTotal
	counts map[actorID][telemetry.NumCounters]uint64
	gauges map[gaugeKey]float64
}

func (t *tally) reset(now int64) {
	t.at = now
	for i := range t.stages {
		t.stages[i].Reset()
	}
	t.counts, t.gauges = map[actorID][telemetry.NumCounters]uint64{}, map[gaugeKey]float64{}
}

// count adds up counters over all actors.
func (t *tally) count(counters ...telemetry.Counter) (sum uint64) {
	for _, c := range t.counts {
		for _, i := range counters {
			sum += c[i]
		}
	}
	return sum
}

// gauge adds up a gauge over its shards and labels.
func (t *tally) gauge(id telemetry.GaugeID) (sum float64) {
	for w, v := range t.gauges {
		if w.id == id {
			sum += v
		}
	}
	return sum
}

// history holds the last minutes. One goroutine calls take; any goroutine reads.
type history struct {
	collector *telemetry.Collector
	now       func() int64
	wall      func() time.Time

	mu     sync.Mutex // guards all below
	points [Kept]Point
	n      uint64 // points taken so far
	recent [window][numStages]telemetry.HistTotal
	before *tally // at the end of the point before the newest
	last   *tally // at the end of the newest point
}

// newHistory begins now; no point has what was recorded before.
func newHistory(c *telemetry.Collector, now func() int64, wall func() time.Time) *history {
	h := &history{collector: c, now: now, wall: wall, before: new(tally), last: new(tally)}
	h.read(h.last)
	h.before.reset(h.last.at)
	return h
}

// read sets t to the present counts.
func (h *history) read(t *tally) {
	h.collector.Collect(0)
	t.reset(h.now())
	h.collector.Each(func(a *telemetry.Totals) {
		for i := range a.H {
			t.stages[i].Merge(&a.H[i])
		}
		t.counts[actorID{a.Actor, a.Shard}] = a.C
	})
	h.collector.Gauges(func(g telemetry.Gauge, v float64) {
		t.gauges[gaugeKey{g.ID, g.Value, g.Shard}] += v
	})
}

// take adds a point, and returns it.
func (h *history) take() Point {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before, h.last = h.last, h.before
	h.read(h.last)
	seconds := float64(h.last.at-h.before.at) / 1e9
	recent := &h.recent[h.n%window]
	for i := range recent {
		between(&recent[i], &h.before.stages[i], &h.last.stages[i])
	}
	h.n++
	p := &h.points[(h.n-1)%Kept]
	*p = Point{N: h.n, At: h.wall().UnixMilli(), Oldest: h.last.gauge(telemetry.GateOldestAge),
		Whole: latencyOf(&recent[telemetry.StageWhole])}
	if seconds <= 0 {
		return *p
	}
	rate := func(counters ...telemetry.Counter) float64 {
		return float64(h.last.count(counters...)-h.before.count(counters...)) / seconds
	}
	change := func(gauge telemetry.GaugeID) float64 {
		return max(h.last.gauge(gauge)-h.before.gauge(gauge), 0) / seconds
	}
	p.Requests, p.Events = change(telemetry.ListenerRequests), change(telemetry.SequencerEvents)
	p.Commits = change(telemetry.JournalCommits)
	p.Released, p.Encoded = rate(telemetry.GateSlots), rate(telemetry.EncodeFrames)
	p.Responses, p.Bytes = rate(telemetry.EgressFramesSent), rate(telemetry.EgressBytesSent)
	p.Topics, p.Delivered = rate(telemetry.EncodeTopics), rate(telemetry.TopicDelivered)
	p.Gaps = rate(telemetry.TopicGaps)
	p.Dropped = rate(drops()...)
	return *p
}

func drops() (all []telemetry.Counter) {
	for r := range telemetry.DropReason(telemetry.NumDropReasons) {
		all = append(all, r.Counter())
	}
	return all
}

// after returns the points with numbers above n, oldest first.
func (h *history) after(n uint64) []Point {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n > h.n {
		n = 0 // the number is from another run of the server
	}
	n = max(n, h.n-min(h.n, Kept))
	list := make([]Point, 0, h.n-n)
	for ; n < h.n; n++ {
		list = append(list, h.points[n%Kept])
	}
	return list
}

// stages returns the latencies of the last seconds, and the number of seconds.
func (h *history) stages() (table []Stage, seconds int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seconds = int(min(h.n, window))
	for s := range telemetry.Stage(numStages) {
		var sum telemetry.HistTotal
		for i := range h.recent[:seconds] {
			sum.Merge(&h.recent[i][s])
		}
		table = append(table, Stage{Name: s.Name(), Latency: latencyOf(&sum)})
	}
	return table, seconds
}

// shard is the work of a shard in the last point.
func (h *history) shard(i int) Shard {
	w := actorID{"egress", i}
	seconds := float64(h.last.at-h.before.at) / 1e9
	rate := func(c telemetry.Counter) float64 {
		if seconds <= 0 {
			return 0
		}
		return float64(h.last.counts[w][c]-h.before.counts[w][c]) / seconds
	}
	g := func(id telemetry.GaugeID) float64 { return h.last.gauges[gaugeKey{id, "", i}] }
	return Shard{
		Shard: i, Responses: rate(telemetry.EgressFramesSent),
		Bytes: rate(telemetry.EgressBytesSent), Busy: rate(telemetry.RunnerBusyTime) / 1e9,
		Clients:  int(g(telemetry.EgressConnections)),
		Blocked:  int(g(telemetry.EgressBlockedConnections)),
		Buffered: int64(g(telemetry.EgressBuffered)),
		Queue:    int64(g(telemetry.EgressInbox)), QueueCap: int64(g(telemetry.EgressInboxCapacity)),
	}
}

// busy is the share of the last point in which an actor worked.
func (h *history) busy(kind string) float64 {
	w, ns := actorID{kind, telemetry.NoShard}, float64(h.last.at-h.before.at)
	if ns <= 0 {
		return 0
	}
	const busy = telemetry.RunnerBusyTime
	return float64(h.last.counts[w][busy]-h.before.counts[w][busy]) / ns
}
