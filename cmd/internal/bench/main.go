package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"sluice/cmd/internal/config"
)

// ErrViolated is wrapped by Main's error when a run broke a promise: the numbers are written all the same.
var ErrViolated = errors.New("a run broke a promise")

// Process is what Main may use of the process.
type Process struct {
	Environ        []string
	Stdout, Stderr io.Writer
	Command        []string // program and arguments that call Child
}

// options are the flags.
type options struct {
	Plan
	profile  string
	section  []string
	json     bool
	markdown bool
	into     string
	micro    string
	html     string
}

// Main is the command: it runs a plan or a profile of several and writes tables.
func Main(ctx context.Context, p Process, args []string) error {
	o := options{Plan: DefaultPlan()}
	const output = "What is written"
	set := config.NewSet("", append(o.settings(),
		config.Setting{Name: "profile", Group: output, Help: "A list of tables instead of one: quick (half a minute) or full (thirteen minutes, with the goals of the project). Axes are then the profile's.", Value: config.Text(&o.profile, "NAME")},
		config.Setting{Name: "section", Group: output, Help: "Only these tables of the profile.", Value: config.List(&o.section, "LIST")},
		config.Setting{Name: "json", Group: output, Help: "Every run as JSON.", Value: config.Bool(&o.json)},
		config.Setting{Name: "markdown", Group: output, Help: "Name the machine and the command above the table.", Value: config.Bool(&o.markdown)},
		config.Setting{Name: "into", Group: output, Help: "Replace the profile's sections in this Markdown file, each between <!-- begin NAME --> and <!-- end NAME -->.", Value: config.Text(&o.into, "FILE")},
		config.Setting{Name: "html", Group: output, Help: "Also a report with pictures, in one file that needs no network.", Value: config.Text(&o.html, "FILE")},
		config.Setting{Name: "micro", Group: output, Help: "Output of go test -bench for the section \"micro\".", Value: config.Text(&o.micro, "FILE")},
	)...)
	rest, err := set.Load(args, p.Environ)
	if errors.Is(err, config.ErrHelp) {
		fmt.Fprintln(p.Stdout, "usage: sluice bench [flags]\n\nMeasures the pipeline under an open-loop load, and a plain Go server beside it.\n ")
		return set.Usage(p.Stdout)
	}
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return config.Usagef("bench takes no arguments, and %q is one; flags begin with --", rest[0])
	}
	if o.profile != "" {
		return o.runProfile(ctx, p)
	}
	return o.runPlan(ctx, p, args)
}

// runPlan runs one table.
func (o *options) runPlan(ctx context.Context, p Process, args []string) error {
	specs, err := o.Specs()
	if err == nil {
		err = o.checkHTML()
	}
	if err != nil {
		return err
	}
	rows, err := (&Runner{Command: p.Command, Peers: o.Peers, Receivers: o.Receivers, Stderr: p.Stderr}).Rounds(ctx, specs, o.Runs, p.Stderr)
	if len(rows) == 0 {
		return err
	}
	broken := errors.Join(err, verdict(rows), o.saveHTML(&page{
		title: "sluice bench", environment: describe(),
		sections: []pageSection{{name: "results", command: strings.TrimSpace(commandLine(args)), rows: rows}},
	}))
	if o.json {
		e := json.NewEncoder(p.Stdout)
		e.SetIndent("", " ")
		if err := e.Encode(map[string]any{"environment": describe(), "command": strings.TrimSpace(commandLine(args)), "rows": summaries(rows)}); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		return broken
	}
	if o.markdown {
		fmt.Fprintf(p.Stdout, "%s\n\n%s\n\n", describe(), commandLine(args))
	}
	writeTable(p.Stdout, rows)
	return broken
}

// Rounds runs every spec runs times, in rounds over all of them, each beginning with another one; so a minute in which
// the machine is busy hits all alike. A line a run goes to log. When ctx ends, what was measured until then is returned with the error.
func (r *Runner) Rounds(ctx context.Context, specs []Spec, runs int, log io.Writer) ([]*Row, error) {
	rows := make([]*Row, len(specs))
	for i := range specs {
		rows[i] = &Row{Spec: specs[i]}
		if _, err := r.serverCommand(&specs[i]); err != nil {
			return nil, err
		}
	}
	each := specs[0].Warm + specs[0].Run + time.Second/2
	fmt.Fprintf(log, "bench: %d combinations, %d runs of each, about %v\n", len(specs), runs, (each * time.Duration(len(specs)*runs)).Round(time.Second))
	for round := range runs {
		for i := range specs {
			row := rows[(i+round)%len(rows)]
			res, err := r.measure(ctx, row.Spec)
			if ctx.Err() != nil {
				return withResults(rows), fmt.Errorf("bench: stopped in round %d of %d: %w", round+1, runs, ctx.Err())
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", row.where(), err)
			}
			row.Results = append(row.Results, res)
			fmt.Fprintf(log, "bench: %d/%d %s: %s frames/s, p50 %s, p99.9 %s, faults %v\n",
				round+1, runs, row.where(), Amount(res.Frames), Micros(res.P50), Micros(res.P999), res.Faults)
		}
	}
	return rows, nil
}

// withResults are the rows that have results.
func withResults(rows []*Row) (some []*Row) {
	for _, r := range rows {
		if len(r.Results) > 0 {
			some = append(some, r)
		}
	}
	return some
}

// verdict is an error when a promise was broken.
func verdict(rows []*Row) error {
	for _, r := range rows {
		if f, first := r.faults(); f != (Faults{}) {
			return fmt.Errorf("bench: %w: %s: %v; %s", ErrViolated, r.where(), f, first)
		}
	}
	for _, s := range stalls(rows) {
		if s.refused > refusedMost {
			return fmt.Errorf("bench: %w: %s: %.1f refused sends a second for each stalled client, at most %d are allowed",
				ErrViolated, s.row.where(), s.refused, refusedMost)
		}
	}
	return nil
}
