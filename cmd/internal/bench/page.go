package bench

import (
	"fmt"
	"html"
	"io"
	"os"
	"slices"
	"strings"

	"sluice/cmd/internal/bench/chart"
)

// page is the HTML report: all results in one self-contained file.
type page struct {
	title       string
	environment string
	goals       []goalLine
	sections    []pageSection
}

// pageSection is one table with its charts.
type pageSection struct {
	name    string
	command string
	note    string
	rows    []*Row
}

// drawn reports whether the section has charts in a Markdown file, too.
func (s *pageSection) drawn() bool {
	return slices.Contains([]string{"goroutines", "stalled", "latency"}, s.name)
}

// save writes the report to the file.
func (p *page) save(name string) error {
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("bench: report: %w", err)
	}
	p.write(file)
	if err := file.Close(); err != nil {
		return fmt.Errorf("bench: report: %w", err)
	}
	return nil
}

const pageStyle = `
:root{color-scheme:light dark;--page:#fff;--text:#1c2026;--soft:#5b6470;--head:#f3f5f8;--good:#087f5b;--bad:#b3261e}
@media (prefers-color-scheme:dark){:root{--page:#14171c;--text:#e4e8ee;--soft:#a3adba;--head:#1f242c;--good:#57d9a3;--bad:#ff8a80}}
body{margin:0 auto;max-width:1180px;padding:28px 24px 60px;background:var(--page);color:var(--text);font:15px/1.5 system-ui,sans-serif}
h1{font-size:25px;margin:0 0 4px}h2{font-size:19px;margin:40px 0 6px;padding-top:14px;border-top:1px solid var(--line)}
h3{font-size:15px;margin:22px 0 6px}p,li{max-width:95ch}.soft,figcaption{color:var(--soft)}nav a{margin-right:14px;white-space:nowrap}
a{color:var(--series-1)}pre{overflow-x:auto;background:var(--head);padding:9px 12px;border-radius:6px;font-size:13px;margin:8px 0}
.wide{overflow-x:auto;margin:12px 0}table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:5px 10px;text-align:left;white-space:nowrap;border-bottom:1px solid var(--line)}th{background:var(--head);font-weight:600}
.goals td{white-space:normal;min-width:18ch}.goals td:first-child{min-width:30ch}.good{color:var(--good);font-weight:600}.bad{color:var(--bad);font-weight:600}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:18px 26px;margin:14px 0}figure{margin:0}
@media print{body{max-width:none}.charts{break-inside:avoid}}
`

// write writes the page.
func (p *page) write(w io.Writer) {
	esc := html.EscapeString
	fmt.Fprintf(w, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta "+
		"charset=\"utf-8\"/>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"+
		"<title>%s</title>\n<style>%s%s</style>\n</head>\n<body>\n<h1>%s</h1>\n<p "+
		"class=\"soft\">%s</p>\n", esc(p.title), pageStyle, chart.Style, esc(p.title),
		esc(p.environment))
	if len(p.sections) > 1 {
		fmt.Fprint(w, "<nav>")
		if len(p.goals) > 0 {
			fmt.Fprint(w, "<a href=\"#goals\">goals</a>\n")
		}
		for _, s := range p.sections {
			fmt.Fprintf(w, "<a href=\"#%s\">%s</a>\n", esc(s.name), esc(s.name))
		}
		fmt.Fprintln(w, "</nav>")
	}
	if len(p.goals) > 0 {
		p.writeGoals(w)
	}
	for i := range p.sections {
		p.sections[i].write(w)
	}
	fmt.Fprint(w,
		"<p class=\"soft\">Latency is the time from the scheduled publication of a frame to the "+
			"return of the read that delivered it. "+
			"Vertical bars span the smallest to the largest run.</p>\n</body>\n</html>\n")
}

func (p *page) writeGoals(w io.Writer) {
	fmt.Fprintln(w, `<h2 id="goals">Goals</h2>`)
	cells := goalCells(p.goals)
	fmt.Fprint(w, "<div class=\"wide\"><table class=\"goals\">\n")
	for n, line := range cells {
		fmt.Fprint(w, "<tr>")
		for i, c := range line {
			tag, class := "td", ""
			if n == 0 {
				tag = "th"
			} else if i == len(line)-1 {
				class = map[bool]string{true: ` class="good"`,
					false: ` class="bad"`}[strings.HasPrefix(c, "met")]
				if strings.HasPrefix(c, "not") {
					class = ""
				}
			}
			fmt.Fprintf(w, "<%s%s>%s</%s>", tag, class, html.EscapeString(c), tag)
		}
		fmt.Fprintln(w, "</tr>")
	}
	fmt.Fprint(w, "</table></div>\n")
}

func (s *pageSection) write(w io.Writer) {
	esc := html.EscapeString
	fmt.Fprintf(w, "<h2 id=\"%s\">%s</h2>\n<pre>%s</pre>\n", esc(s.name), esc(s.name), esc(s.command))
	if s.note != "" {
		fmt.Fprintf(w, "<p>%s</p>\n", esc(s.note))
	}
	if len(s.rows) == 0 {
		return
	}
	fmt.Fprint(w, "<div class=\"charts\">\n")
	for _, c := range append(loadCharts(s.rows), percentileCharts(s.rows)...) {
		fmt.Fprintf(w, "<figure>\n%s</figure>\n", c.SVG())
	}
	same, cells := tabulate(s.rows)
	fmt.Fprintf(w, "</div>\n<p class=\"soft\">%s</p>\n<div class=\"wide\"><table>\n", esc(same))
	for n, line := range cells {
		tag := "td"
		if n == 0 {
			tag = "th"
		}
		fmt.Fprint(w, "<tr>")
		for _, c := range line {
			fmt.Fprintf(w, "<%s>%s</%s>", tag, esc(c), tag)
		}
		fmt.Fprintln(w, "</tr>")
	}
	fmt.Fprint(w, "</table></div>\n")
	if lines := remarks(s.rows); len(lines) > 0 {
		fmt.Fprint(w, "<ul>\n")
		for _, line := range lines {
			fmt.Fprintf(w, "<li>%s</li>\n", esc(line))
		}
		fmt.Fprint(w, "</ul>\n")
	}
}

// variants returns the names of the servers of rows, in order. The index determines the colour of a
// series.
func variants(rows []*Row) (names []string) {
	for _, r := range rows {
		if name := r.Spec.variant(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// variant returns the name of a spec in a chart: the server, with stalled clients and churn.
func (s *Spec) variant() string {
	name := s.Name()
	if s.Stalled > 0 {
		name += fmt.Sprintf(", %d stalled", s.Stalled)
	}
	if s.Churn > 0 {
		name += fmt.Sprintf(", churn %d/s", s.Churn)
	}
	return name
}

// place describes the part of a spec that the rows of one chart share.
func (s *Spec) place() string {
	text := fmt.Sprintf("%d connections, %d B over %s", s.Connections, s.Frame, s.Net)
	if s.Lag > 0 {
		text += fmt.Sprintf(", durable after %v", s.Lag)
	}
	if s.Burst > 0 {
		text += fmt.Sprintf(", bursts of %d", s.Burst)
	}
	if s.Repeat > 1 {
		text += fmt.Sprintf(", %d in a row", s.Repeat)
	}
	return text
}

// groups groups rows by a key, in order.
func groups(rows []*Row, key func(*Spec) string) (names []string, byName map[string][]*Row) {
	byName = map[string][]*Row{}
	for _, r := range rows {
		name := key(&r.Spec)
		if byName[name] == nil {
			names = append(names, name)
		}
		byName[name] = append(byName[name], r)
	}
	return names, byName
}

// microsText formats a latency for an axis.
func microsText(us float64) string {
	switch {
	case us >= 1e6:
		return fmt.Sprintf("%g s", us/1e6)
	case us >= 1e3:
		return fmt.Sprintf("%g ms", us/1e3)
	}
	return fmt.Sprintf("%.3g us", us)
}

// percentileCharts returns the distributions, one chart for each place and rate.
func percentileCharts(rows []*Row) (all []chart.Chart) {
	styles := variants(rows)
	names, groups := groups(rows, func(s *Spec) string {
		if s.Server == ordersServer || s.Server == syncServer {
			return "one after the other"
		}
		return s.place() + ", rate/s " + s.rateText()
	})
	for _, name := range names {
		c := chart.Chart{Title: "Latency by percentile: " + name,
			X: chart.Axis{Label: "percentile"}, Y: chart.Axis{Label: "latency", Log: true}}
		var ys []float64
		most := 0.0
		for _, r := range groups[name] {
			s := chart.Series{Name: r.Spec.variant(), Style: slices.Index(styles, r.Spec.variant())}
			for _, p := range r.curve() {
				s.Points = append(s.Points, chart.Point{X: chart.Percentile(p.Of), Y: p.NS / micro})
				ys, most = append(ys, p.NS/micro), max(most, p.Of)
			}
			c.Series = append(c.Series, s)
		}
		if len(ys) == 0 {
			continue
		}
		c.X.Ticks = chart.PercentileTicks(most)
		c.Y.Ticks = chart.LogTicks(slices.Min(ys), slices.Max(ys), microsText)
		all = append(all, c)
	}
	return all
}

// loadCharts returns charts of latency over rate, for places that were measured at several rates.
func loadCharts(rows []*Row) (all []chart.Chart) {
	styles := variants(rows)
	names, groups := groups(rows, (*Spec).place)
	for _, name := range names {
		for _, q := range []struct {
			name string
			of   func(*Result) float64
		}{
			{"p50", func(r *Result) float64 { return r.P50 }},
			{"p99", func(r *Result) float64 { return r.P99 }},
			{"p99.9", func(r *Result) float64 { return r.P999 }},
		} {
			if c, ok := loadChart(q.name+" by load: "+name, groups[name], styles, q.of); ok {
				all = append(all, c)
			}
		}
	}
	return all
}

// loadChart returns the chart of one percentile. It reports false if there is only one rate.
func loadChart(title string, rows []*Row, styles []string, of func(*Result) float64) (chart.Chart,
	bool) {
	c := chart.Chart{Title: title, Marks: true, X: chart.Axis{Label: "frames/s wanted", Log: true},
		Y: chart.Axis{Label: "latency", Log: true}}
	var ys []float64
	var rates []int
	for _, r := range rows {
		if r.Spec.Rate == 0 {
			continue
		}
		if !slices.Contains(rates, r.Spec.Rate) {
			rates = append(rates, r.Spec.Rate)
		}
		i := slices.IndexFunc(c.Series, func(s chart.Series) bool { return s.Name == r.Spec.variant() })
		if i < 0 {
			i = len(c.Series)
			c.Series = append(c.Series,
				chart.Series{Name: r.Spec.variant(), Style: slices.Index(styles, r.Spec.variant())})
		}
		v := r.of(of)
		ys = append(ys, v.low/micro, v.high/micro)
		c.Series[i].Points = append(c.Series[i].Points, chart.Point{
			X: float64(r.Spec.Rate), Y: v.mid / micro, Low: v.low / micro, High: v.high / micro,
			Text: fmt.Sprintf("%d/s: %s us", r.Spec.Rate, v.text(micro)),
		})
	}
	if len(rates) < 2 {
		return c, false
	}
	for _, rate := range rates {
		c.X.Ticks = append(c.X.Ticks, chart.Tick{At: float64(rate), Text: Amount(float64(rate))})
	}
	c.Y.Ticks = chart.LogTicks(slices.Min(ys), slices.Max(ys), microsText)
	return c, true
}
