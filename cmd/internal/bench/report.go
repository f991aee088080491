package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sluice/cmd/internal/config"
)

// runProfile makes the tables of a profile and writes them to their places. A section that cannot
// be measured reports the reason in its place; the others are made nevertheless.
func (o *options) runProfile(ctx context.Context, p Process) error {
	all, err := profile(o.profile)
	if err != nil {
		return err
	}
	if o.json || o.markdown {
		return config.Usagef("--profile writes Markdown; for JSON use the flags of one section: %s",
			all[0].flags)
	}
	sections, err := chosen(all, o.section)
	if err != nil {
		return err
	}
	micro, err := o.readMicro()
	if err == nil {
		err = o.checkPlaces(sections, micro)
	}
	if err != nil {
		return err
	}
	report := page{title: "sluice bench --profile " + o.profile, environment: describe()}
	var broken []error
	if place := o.environmentPlace(); place != "" && len(o.section) == 0 { // else that of the page stays
		broken = append(broken, o.put(p, place, report.environment+"\n"))
	}
	if micro != "" {
		broken = append(broken, o.put(p, "micro", "```\n"+micro+"\n```\n"))
	}
	for i := range sections {
		got, err := o.measureSection(ctx, p, &sections[i])
		report.sections = append(report.sections, got)
		if broken = append(broken, err); ctx.Err() != nil {
			break // the remaining sections of the file stay
		}
		pictures, err := o.draw(&got)
		broken = append(broken, err, o.put(p, got.name, got.markdown()+pictures))
	}
	if name := o.goalsPlace(); name != "" {
		switch report.goals = judge(report.sections, micro, o.section); name {
		case topicGoalsPlace:
			report.goals = judgeAll(topicGoals(), report.sections, o.section)
		case tlsGoalsPlace:
			report.goals = judgeAll(tlsGoals(), report.sections, o.section)
		}
		broken = append(broken, o.putGoals(p, name, report.goals, len(o.section) > 0 || ctx.Err() != nil))
	}
	if micro != "" {
		report.sections = append(report.sections, pageSection{name: "micro", command: micro})
	}
	return errors.Join(append(broken, o.saveHTML(&report))...)
}

// Places of the goals of the profiles "topics" and "tls" in the page.
const topicGoalsPlace, tlsGoalsPlace = "topic-goals", "tls-goals"

// environmentPlace is the place of the environment of the profile, "" if the page has none.
func (o *options) environmentPlace() string {
	switch o.profile {
	case "topics":
		return ""
	case tlsNet:
		return "tls-environment"
	}
	return "environment"
}

// goalsPlace is the place of the goals of the profile, "" if it has none.
func (o *options) goalsPlace() string {
	switch o.profile {
	case "full":
		return "goals"
	case "topics":
		return topicGoalsPlace
	case tlsNet:
		return tlsGoalsPlace
	}
	return ""
}

// putGoals writes the goals to their place. If only some were judged, it keeps the lines of the
// others.
func (o *options) putGoals(p Process, name string, lines []goalLine, some bool) error {
	if some && o.into != "" {
		page, err := os.ReadFile(o.into)
		if err != nil {
			return fmt.Errorf("bench: page for the results: %w", err)
		}
		lines = mergeGoals(string(page), name, lines)
	}
	text := &strings.Builder{}
	writeCells(text, goalCells(lines))
	return o.put(p, name, text.String())
}

// mergeGoals returns the goals of a page, with the lines replaced that were measured now.
func mergeGoals(page, name string, now []goalLine) (all []goalLine) {
	_, rest, _ := strings.Cut(page, "<!-- begin "+name+" -->\n")
	table, _, _ := strings.Cut(rest, "<!-- end "+name+" -->")
	for i, line := range strings.Split(strings.TrimSpace(table), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if i < 2 || len(cells) != 4 { // the head and the line under it
			continue
		}
		for j := range cells {
			cells[j] = strings.TrimSpace(cells[j])
		}
		l := goalLine{cells[0], cells[1], cells[2], cells[3]}
		if k := slices.IndexFunc(now,
			func(n goalLine) bool {
				return n.what == l.what && !strings.HasPrefix(n.verdict,
					"not measured")
			}); k >= 0 {
			l = now[k]
		}
		all = append(all, l)
	}
	return all
}

// measureSection measures one table.
func (o *options) measureSection(ctx context.Context, p Process, s *section) (got pageSection,
	err error) {
	got = pageSection{name: s.name, command: strings.TrimSpace(commandLine(strings.Fields(s.flags)))}
	plan, err := s.plan()
	if err != nil {
		return got, err
	}
	r := &Runner{Command: p.Command, Peers: o.Peers, Receivers: plan.Receivers, Stderr: p.Stderr}
	ok := false
	if got.note, ok = plan.without(r); !ok {
		got.note += "There is nothing to compare, so nothing was measured.\n\n"
		return got, nil
	}
	specs, err := plan.Specs()
	if err == nil {
		got.rows, err = r.Rounds(ctx, specs, plan.Runs, p.Stderr)
	}
	if err != nil {
		got.note += fmt.Sprintf("Not measured, or not completely: %v\n\n", err)
	}
	return got, errors.Join(err, verdict(got.rows))
}

// draw saves the charts of a section in a directory with the name of the Markdown file, and returns
// Markdown that shows them.
func (o *options) draw(s *pageSection) (markdown string, err error) {
	if o.into == "" || !s.drawn() || len(s.rows) == 0 {
		return "", nil
	}
	dir := strings.TrimSuffix(o.into, filepath.Ext(o.into))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("bench: charts: %w", err)
	}
	for i, c := range append(loadCharts(s.rows), percentileCharts(s.rows)...) {
		name := fmt.Sprintf("%s-%d.svg", s.name, i+1)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(c.File()), 0o644); err != nil {
			return markdown, fmt.Errorf("bench: charts: %w", err)
		}
		markdown += fmt.Sprintf("![%s](%s/%s)\n", c.Title, filepath.Base(dir), name)
	}
	return markdown, nil
}

// markdown returns the section as Markdown.
func (s *pageSection) markdown() string {
	text := &strings.Builder{}
	fmt.Fprintf(text, "    %s\n\n%s", s.command, s.note)
	if len(s.rows) > 0 {
		writeTable(text, s.rows)
	}
	return text.String()
}

// readMicro returns the output of the micro benchmarks, "" for none.
func (o *options) readMicro() (string, error) {
	if o.micro == "" {
		return "", nil
	}
	text, err := os.ReadFile(o.micro)
	if err != nil {
		return "", fmt.Errorf("bench: output of the micro benchmarks: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// checkPlaces checks before the measurement that the results have a place.
func (o *options) checkPlaces(sections []section, micro string) error {
	if o.into == "" {
		return o.checkHTML()
	}
	var names []string
	if place := o.environmentPlace(); place != "" {
		names = append(names, place)
	}
	if name := o.goalsPlace(); name != "" {
		names = append(names, name)
	}
	if micro != "" {
		names = append(names, "micro")
	}
	for _, s := range sections {
		names = append(names, s.name)
	}
	page, err := os.ReadFile(o.into)
	if err != nil {
		return fmt.Errorf("bench: page for the results: %w", err)
	}
	for _, name := range names {
		if _, err := replaceSection(string(page), name, ""); err != nil {
			return fmt.Errorf("bench: %s: %w", o.into, err)
		}
	}
	return o.checkHTML()
}

// checkHTML checks that the report can be written.
func (o *options) checkHTML() error {
	if o.html == "" {
		return nil
	}
	file, err := os.OpenFile(o.html, os.O_WRONLY|os.O_CREATE, 0o644)
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		return fmt.Errorf("bench: report: %w; name another file with --html", err)
	}
	return nil
}

// saveHTML writes the report to the file of --html.
func (o *options) saveHTML(report *page) error {
	if o.html == "" {
		return nil
	}
	return report.save(o.html)
}

// put writes a section to its place in the file, or to the standard output.
func (o *options) put(p Process, name, text string) error {
	if o.into == "" {
		_, err := fmt.Fprintf(p.Stdout, "## %s\n\n%s\n", name, text)
		return err
	}
	page, err := os.ReadFile(o.into)
	if err != nil {
		return fmt.Errorf("bench: page for the results: %w", err)
	}
	replaced, err := replaceSection(string(page), name, text)
	if err != nil {
		return fmt.Errorf("bench: %s: %w", o.into, err)
	}
	if err := os.WriteFile(o.into, []byte(replaced), 0o644); err != nil {
		return fmt.Errorf("bench: page for the results: %w", err)
	}
	return nil
}

// replaceSection replaces the text between the markers of the section.
func replaceSection(page, name, text string) (string, error) {
	first, last := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->"
	head, rest, ok := strings.Cut(page, first)
	_, tail, ok2 := strings.Cut(rest, last)
	if !ok || !ok2 {
		return "", fmt.Errorf("the lines %q and %q are missing; add them at the place of section %s", strings.TrimSpace(first), last, name)
	}
	return head + first + strings.TrimRight(text, "\n") + "\n" + last + tail, nil
}
