package stats

import (
	"encoding/json"
	"fmt"
	"os"

	"sluice/telemetry"
	"sluice/transport"
)

// Report is everything measured up to a moment.
type Report struct {
	Engine    string    `json:"engine"`
	Diagnosis string    `json:"diagnosis"`
	Shards    int       `json:"shards"`
	Stages    []Latency `json:"stages"` // in the order a response passes them; those without samples are left out
	Counters  []Value   `json:"counters"`
	Gauges    []Value   `json:"gauges"`
}

// Latency is the distribution of the time a stage takes, in ns.
type Latency struct {
	Stage string  `json:"stage"`
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean_ns"`
	P50   uint64  `json:"p50_ns"`
	P99   uint64  `json:"p99_ns"`
	P999  uint64  `json:"p999_ns"`
	Max   uint64  `json:"max_ns"`
}

// Value is a counter, or a gauge at the moment of the report.
type Value struct {
	Actor string  `json:"actor,omitempty"`
	Shard int     `json:"shard"` // -1 for none
	Name  string  `json:"name"`
	Label string  `json:"label,omitempty"` // value of the counter's one label
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
}

// Take collects what a pipeline measured. Any goroutine may call it.
func Take(c *telemetry.Collector, d transport.Diagnosis, shards int) *Report {
	r := &Report{Engine: d.Engine, Diagnosis: d.Text, Shards: shards}
	c.Collect(0)
	sum := c.Sum()
	for s := range telemetry.Stage(telemetry.NumStages) {
		if h := &sum.H[s]; h.Count > 0 {
			r.Stages = append(r.Stages, Latency{Stage: s.Name(), Count: h.Count, Mean: h.Mean(),
				P50: h.Quantile(0.5), P99: h.Quantile(0.99), P999: h.Quantile(0.999), Max: h.Max})
		}
	}
	c.Each(func(t *telemetry.Totals) {
		for i, v := range t.C {
			if info := telemetry.Counter(i).Info(); v != 0 {
				r.Counters = append(r.Counters, Value{t.Actor, t.Shard, info.Name, info.Value, info.Unit, float64(v)})
			}
		}
	})
	c.Gauges(func(g telemetry.Gauge, v float64) {
		r.Gauges = append(r.Gauges, Value{Shard: g.Shard, Name: g.Name, Unit: g.Unit, Value: v})
	})
	return r
}

// Counter adds up a counter over all actors and labels, or over one label.
func (r *Report) Counter(name string, label ...string) (sum float64) {
	for _, v := range r.Counters {
		if v.Name == name && (len(label) == 0 || label[0] == v.Label) {
			sum += v.Value
		}
	}
	return sum
}

// Gauge adds up a gauge of the catalogue over all shards, 0 if none was registered.
func (r *Report) Gauge(id telemetry.GaugeID) (sum float64) {
	name := id.Info().Name
	for _, v := range r.Gauges {
		if v.Name == name {
			sum += v.Value
		}
	}
	return sum
}

// WriteFile replaces the file by the report, all of it at once.
func (r *Report) WriteFile(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("stats: %w", err)
	}
	if err := os.WriteFile(path+".tmp", append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("stats: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("stats: %w", err)
	}
	return nil
}

// ReadFile reads what WriteFile wrote.
func ReadFile(path string) (*Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("stats: %w", err)
	}
	r := new(Report)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("stats: %s: %w", path, err)
	}
	return r, nil
}
