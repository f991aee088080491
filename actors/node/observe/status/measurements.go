package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sluice/actors/node"
	"sluice/telemetry"
	"sluice/transport"
)

// Measurements are all that a node measured since it started, for programs: /stats answers with
// them, and `sluice serve --stats-file` writes them. Latencies are in nanoseconds, sizes in bytes.
type Measurements struct {
	Engine    string         `json:"engine"`
	Diagnosis string         `json:"diagnosis"`
	Shards    int            `json:"shards"`
	Stages    []StageLatency `json:"stages"` // in order of the response path; without empty ones
	Counters  []Value        `json:"counters"`
	Gauges    []Value        `json:"gauges"`
}

// StageLatency is the distribution of the time that a stage took, in nanoseconds.
type StageLatency struct {
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

// Measure collects what a node measured. Any goroutine may call it, including after the node has
// ended.
func Measure(n node.Running) *Measurements {
	return measure(n.Collector(), n.Diagnosis(), len(n.Rings()))
}

func measure(c *telemetry.Collector, d transport.Diagnosis, shards int) *Measurements {
	r := &Measurements{Engine: d.Engine, Diagnosis: d.Text, Shards: shards}
	c.Collect(0)
	sum := c.Sum()
	for s := range telemetry.Stage(telemetry.NumStages) {
		if h := &sum.H[s]; h.Count > 0 {
			r.Stages = append(r.Stages, StageLatency{Stage: s.Name(), Count: h.Count, Mean: h.Mean(),
				P50: h.Quantile(0.5), P99: h.Quantile(0.99), P999: h.Quantile(0.999), Max: h.Max})
		}
	}
	c.Each(func(t *telemetry.Totals) {
		for i, v := range t.C {
			if info := telemetry.Counter(i).Info(); v != 0 {
				r.Counters = append(r.Counters,
					Value{t.Actor, t.Shard, info.Name, info.Value, info.Unit, float64(v)})
			}
		}
	})
	c.Gauges(func(g telemetry.Gauge, v float64) {
		r.Gauges = append(r.Gauges, Value{Shard: g.Shard, Name: g.Name, Unit: g.Unit, Value: v})
	})
	return r
}

// Counter adds up a counter over all actors and labels, or over one label.
func (m *Measurements) Counter(name string, label ...string) (sum float64) {
	for _, v := range m.Counters {
		if v.Name == name && (len(label) == 0 || label[0] == v.Label) {
			sum += v.Value
		}
	}
	return sum
}

// Gauge adds up a gauge of the catalogue over all shards, 0 if none was registered.
func (m *Measurements) Gauge(id telemetry.GaugeID) (sum float64) {
	name := id.Info().Name
	for _, v := range m.Gauges {
		if v.Name == name {
			sum += v.Value
		}
	}
	return sum
}

// CheckFile refuses a path that WriteFile cannot replace: a device, a FIFO, a socket or a
// directory. A file that does not exist is accepted. It returns the path of the file itself, behind
// symbolic links.
func CheckFile(path string) (file string, err error) {
	if file, err = filepath.EvalSymlinks(path); errors.Is(err, fs.ErrNotExist) {
		target, err := os.Readlink(path)
		if err != nil { // it is no link
			return path, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		return CheckFile(target)
	}
	if err != nil {
		return "", fmt.Errorf("status: %w", err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return "", fmt.Errorf("status: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("status: %s is not a regular file (%s), and would be replaced by one; "+
			"name a regular file", path, info.Mode())
	}
	return file, nil
}

// WriteFile replaces the file at once: a reader sees the old or the new measurements, and never a
// part. A symbolic link stays, and what it points to is replaced.
func (m *Measurements) WriteFile(path string) error {
	path, err := CheckFile(path)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	if err := os.WriteFile(path+".tmp", append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("status: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("status: %w", err)
	}
	return nil
}

// ReadMeasurements reads what WriteFile wrote.
func ReadMeasurements(path string) (*Measurements, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	r := new(Measurements)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("status: %s: %w", path, err)
	}
	return r, nil
}
