package tune

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"sluice/cmd/internal/bench"
)

// sweep measures all choices.
type sweep struct {
	runner  *bench.Runner
	base    bench.Spec // the user's load
	choices []Choice
	runs    int
	log     io.Writer

	begun   time.Time
	done    int // completed runs
	results [][]*bench.Result
}

// measure runs every choice runs times, in rounds over all choices. Each round begins with another
// choice. Completed runs are in results, even if measure ends early with an error.
func (s *sweep) measure(ctx context.Context) error {
	s.results = make([][]*bench.Result, len(s.choices))
	s.begun = time.Now()
	fmt.Fprintf(s.log,
		"tune: %d choices, %s each, about %v; ctrl-C stops and reports the completed runs\n",
		len(s.choices), bench.Runs(s.runs), s.remaining())
	for round := range s.runs {
		var specs []bench.Spec
		for i := range s.choices {
			c := s.choices[(i+round)%len(s.choices)]
			spec := s.base
			spec.Shards, spec.Placement, spec.Idle = c.Shards, c.Placement, c.Idle
			specs = append(specs, spec)
		}
		rows, err := s.runner.Rounds(ctx, specs, 1, s)
		for _, r := range rows {
			s.take(r)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("tune: stopped after %d of %d runs: %w", s.done,
				s.runs*len(s.choices), ctx.Err())
		}
		if err != nil {
			return fmt.Errorf("tune: after %d of %d runs: %w", s.done, s.runs*len(s.choices), err)
		}
	}
	return nil
}

// take adds a row's results to its choice.
func (s *sweep) take(r *bench.Row) {
	for i, c := range s.choices {
		if c == (Choice{r.Spec.Shards, r.Spec.Placement, r.Spec.Idle}) {
			s.results[i] = append(s.results[i], r.Results...)
		}
	}
}

// Write implements io.Writer for the lines of Rounds: one at the start, and one per completed run.
func (s *sweep) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	progress, ok := strings.CutPrefix(text, "bench: 1/1 ")
	if !ok {
		return len(line), nil
	}
	s.done++
	_, err := fmt.Fprintf(s.log, "tune: %d/%d, %v left: %s\n", s.done, s.runs*len(s.choices),
		s.remaining(), progress)
	return len(line), err
}

// remaining estimates the time for the remaining runs from the completed ones.
func (s *sweep) remaining() time.Duration {
	each := s.base.Warm + s.base.Run + time.Second/2
	if s.done > 0 {
		each = time.Since(s.begun) / time.Duration(s.done)
	}
	return (each * time.Duration(s.runs*len(s.choices)-s.done)).Round(time.Second)
}

// rows returns a row for each choice that has results.
func (s *sweep) rows() (rows []Row) {
	for i, results := range s.results {
		if len(results) == 0 {
			continue
		}
		r := Row{Choice: s.choices[i]}
		for _, res := range results {
			r.Frames, r.P50 = append(r.Frames, res.Frames), append(r.P50, res.P50)
			r.P99, r.P999 = append(r.P99, res.P99), append(r.P999, res.P999)
			received := res.Frames * float64(res.Server.At) / 1e9
			r.CPU = append(r.CPU, float64(res.Server.User+res.Server.System)/max(received, 1))
			if res.Faults != (bench.Faults{}) && r.Broken == "" {
				r.Broken = fmt.Sprintf("%v; %s", res.Faults, res.First)
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// engine returns the engine in use, as named by --io.
func (s *sweep) engine() string {
	for _, results := range s.results {
		for _, res := range results {
			return res.Engine
		}
	}
	return ""
}

// verdict returns an error if a choice broke a promise.
func verdict(rows []Row) error {
	var all []error
	for i := range rows {
		if rows[i].Broken != "" {
			all = append(all, fmt.Errorf("tune: %w: %v: %s", bench.ErrViolated, rows[i].Choice,
				rows[i].Broken))
		}
	}
	return errors.Join(all...)
}

// doubts returns reasons why the results may not be due to the server alone. Conditions of the
// machine are judged by the median over all runs, conditions of a choice by the number of runs.
func (s *sweep) doubts() (all []string) {
	var others, stolen []float64
	all = []string{}
	late, slow, runs := 0, 0, 0
	for _, results := range s.results {
		for _, res := range results {
			runs++
			others, stolen = append(others, res.Others), append(stolen, res.Stolen)
			if float64(res.Late[1]) > bench.LateShare*res.P99 && res.Spec.Rate > 0 {
				late++
			}
			if res.FullRead > bench.FullShare ||
				float64(res.WaitPeer) > bench.WaitShare*float64(res.Spec.Run) && res.WaitPeer > res.WaitRing {
				slow++
			}
		}
	}
	if v := spreadOf(others).mid; v > bench.OthersCores {
		all = append(all, fmt.Sprintf("other processes used %.2f cores, which affects latencies", v))
	}
	if v := spreadOf(stolen).mid; v > bench.StolenCores {
		all = append(all, fmt.Sprintf("the hypervisor withheld %.2f cores", v))
	}
	if late > 0 {
		all = append(all,
			fmt.Sprintf("in %d of %d runs the load itself was late, by more than half of p99", late,
				runs))
	}
	if slow > 0 {
		all = append(all, fmt.Sprintf("in %d of %d runs the clients were slower than the server",
			slow, runs))
	}
	return all
}
