package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"sluice/cmd/internal/config"
)

// ErrViolated is wrapped by Main's error if a run broke a promise. The results are written
// nevertheless.
var ErrViolated = errors.New("a run broke a promise")

// Process has the parts of the process that Main uses.
type Process struct {
	Environ        []string
	Stdout, Stderr io.Writer
	Command        []string // program and arguments that call Child
}

// options are the flags.
type options struct {
	Plan
	Cluster, Kills, Transfers int
	profile                   string
	section                   []string
	json                      bool
	markdown                  bool
	into                      string
	micro                     string
	html                      string
}

// usage is the head of the help text.
const usage = `usage: sluice bench [flags]

Measures the response pipeline under an open-loop load, and a plain Go server beside it.

Exit codes: 0 done, 1 failed or a run broke a promise, 64 usage error.
`

// Main runs the command: a plan, or a profile of several plans. It writes tables.
func Main(ctx context.Context, p Process, args []string) error {
	o := options{Plan: DefaultPlan(), Kills: 20, Transfers: 20}
	const output = "Output"
	set := config.NewSet("", append(append(o.settings(), o.clusterSettings()...),
		config.Setting{Name: "profile", Group: output,
			Help: "run the tables of a profile instead of one: quick (half a minute), full " +
				"(thirteen minutes, with the goals of the project), topics (four minutes, with " +
				"those of topics) or tls (six minutes, with those of TLS); the profile sets the axes",
			Value: config.Text(&o.profile, "NAME")},
		config.Setting{Name: "section", Group: output,
			Help: "run only these tables of the profile", Value: config.List(&o.section, "LIST")},
		config.Setting{Name: "json", Group: output,
			Help: "print every run as JSON", Value: config.Bool(&o.json)},
		config.Setting{Name: "markdown", Group: output,
			Help: "print machine and command above the table", Value: config.Bool(&o.markdown)},
		config.Setting{Name: "into", Group: output,
			Help: "replace the sections of the profile in this Markdown file, each between <!-- " +
				"begin NAME --> and <!-- end NAME -->",
			Value: config.Text(&o.into, "FILE")},
		config.Setting{Name: "html", Group: output,
			Help:  "write a report with charts to this file as well; it needs no network",
			Value: config.Text(&o.html, "FILE")},
		config.Setting{Name: "micro", Group: output,
			Help:  "read the output of go test -bench for the section \"micro\" from this file",
			Value: config.Text(&o.micro, "FILE")},
	)...)
	rest, err := set.Load(args, p.Environ)
	if errors.Is(err, config.ErrHelp) {
		fmt.Fprint(p.Stdout, usage)
		return set.Usage(p.Stdout)
	}
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return config.Usagef("bench takes no arguments, but got %q; flags begin with --", rest[0])
	}
	if set.Origin("peer") == "default" && !slices.Contains(o.Fan.Topics, "0") {
		o.Peer = []string{"sluice", slotsServer, "loop", "channels"}
	}
	switch {
	case o.Cluster > 0:
		return o.runCluster(ctx, p, args)
	case o.profile != "":
		return o.runProfile(ctx, p)
	case o.into != "" || o.micro != "" || len(o.section) > 0:
		return config.Usagef("--into, --section and --micro are for a --profile, which has sections; for one table, " +
			"--markdown prints it for a page")
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
	rows, err := (&Runner{Command: p.Command, Peers: o.Peers, Receivers: o.Receivers,
		Stderr: p.Stderr}).Rounds(ctx, specs, o.Runs, p.Stderr)
	if len(rows) == 0 {
		return err
	}
	broken := errors.Join(err, verdict(rows), o.saveHTML(&page{
		title: "sluice bench", environment: describe(),
		sections: []pageSection{{name: "results", command: strings.TrimSpace(commandLine(args)),
			rows: rows}},
	}))
	if o.json {
		e := json.NewEncoder(p.Stdout)
		e.SetIndent("", " ")
		if err := e.Encode(map[string]any{"environment": describe(),
			"command": strings.TrimSpace(commandLine(args)), "rows": summaries(rows)}); err != nil {
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

// Runs is a number of runs in words.
func Runs(n int) string {
	if n == 1 {
		return "1 run"
	}
	return fmt.Sprintf("%d runs", n)
}

// Rounds runs every spec runs times, in rounds over all of them, so that noise affects all. Each
// round begins with another spec. It writes one line per run to log. If ctx ends early, Rounds
// returns the completed runs with the error.
func (r *Runner) Rounds(ctx context.Context, specs []Spec, runs int, log io.Writer) ([]*Row, error) {
	rows := make([]*Row, len(specs))
	for i := range specs {
		rows[i] = &Row{Spec: specs[i]}
		if _, err := r.serverCommand(&specs[i]); err != nil {
			return nil, err
		}
	}
	each := specs[0].Warm + specs[0].Run + time.Second/2
	fmt.Fprintf(log, "bench: %d combinations, %s each, about %v\n", len(specs), Runs(runs),
		(each * time.Duration(len(specs)*runs)).Round(time.Second))
	for round := range runs {
		for i := range specs {
			row := rows[(i+round)%len(rows)]
			res, err := r.measure(ctx, row.Spec)
			if ctx.Err() != nil {
				return withResults(rows), fmt.Errorf("bench: stopped in round %d of %d: %w",
					round+1, runs, ctx.Err())
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

// withResults returns the rows that have results.
func withResults(rows []*Row) (some []*Row) {
	for _, r := range rows {
		if len(r.Results) > 0 {
			some = append(some, r)
		}
	}
	return some
}

// verdict returns an error if a row broke a promise.
func verdict(rows []*Row) error {
	for _, r := range rows {
		if f, first := r.faults(); f != (Faults{}) {
			return fmt.Errorf("bench: %w: %s: %v; %s", ErrViolated, r.where(), f, first)
		}
	}
	for _, s := range stalls(rows) {
		if s.refused > refusedMost {
			return fmt.Errorf("bench: %w: %s: %.1f refused sends per second and stalled client, more than %d",
				ErrViolated, s.row.where(), s.refused, refusedMost)
		}
	}
	return nil
}
