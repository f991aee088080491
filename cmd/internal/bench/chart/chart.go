package chart

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// Colours is the number of colours. Further series repeat them with another dash.
const Colours = 8

// Chart is one chart.
type Chart struct {
	Title  string // heading, and label for screen readers
	X, Y   Axis
	Series []Series
	Marks  bool // draws a dot at each point
}

// Axis is a direction of a chart.
type Axis struct {
	Label string
	Log   bool
	Ticks []Tick
}

// Tick is a position on an axis and its label.
type Tick struct {
	At   float64
	Text string
}

// Series is a line.
type Series struct {
	Name   string
	Style  int // colour and dash; the same number looks the same in all charts
	Points []Point
}

// Point is a point of a line. High > Low > 0 gives it a bar.
type Point struct {
	X, Y      float64
	Low, High float64
	Text      string // tooltip
}

// Size of a chart in its own units; pages scale it.
const (
	titleMost                = 76 // characters of a title that fit without shrinking
	width, height            = 640.0, 330.0
	left, right, top, bottom = 62.0, 16.0, 30.0, 44.0
	legendLine, legendColumn = 18.0, 270.0
	tickWidth                = 7.0 // most of a letter
)

// scale maps values of an axis to positions.
type scale struct {
	axis     *Axis
	from, to float64 // values, or their logarithms
	begin    float64 // position of from
	end      float64 // position of to
}

func (a *Axis) value(v float64) float64 {
	if a.Log {
		return math.Log10(v)
	}
	return v
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// newScale returns a scale that spans all values and ticks.
func newScale(a *Axis, values []float64, begin, end float64) scale {
	s := scale{a, math.Inf(1), math.Inf(-1), begin, end}
	for _, t := range a.Ticks {
		values = append(values, t.At)
	}
	for _, v := range values {
		if v = a.value(v); finite(v) {
			s.from, s.to = min(s.from, v), max(s.to, v)
		}
	}
	if !finite(s.from) || !finite(s.to) {
		s.from, s.to = 0, 1
	}
	return s
}

// place returns the position of a value. It reports false if the value has none.
func (s *scale) place(v float64) (float64, bool) {
	v = s.axis.value(v)
	share := 0.5
	if s.to > s.from {
		share = (v/2 - s.from/2) / (s.to/2 - s.from/2) // halves, because a difference may be above all numbers
	}
	at := s.begin + share*(s.end-s.begin)
	return at, finite(v) && finite(at)
}

// escape makes a text one of XML. What XML cannot contain becomes U+FFFD.
func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // fails only if the writer does
	return b.String()
}

// SVG returns the chart as SVG.
func (c *Chart) SVG() string {
	var xs, ys []float64
	for _, s := range c.Series {
		for _, p := range s.Points {
			xs, ys = append(xs, p.X), append(ys, p.Y)
			if p.High > p.Low {
				ys = append(ys, p.Low, p.High)
			}
		}
	}
	x := newScale(&c.X, xs, left, width-right)
	y := newScale(&c.Y, ys, height-bottom, top)
	legend := legendLine * math.Ceil(float64(len(c.Series))/2)
	b := &strings.Builder{}
	fmt.Fprintf(b,
		`<svg class="chart" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s" xmlns="http://www.w3.org/2000/svg">`+"\n",
		width, height+legend+6, escape(c.Title))
	fit := ""
	if utf8.RuneCountInString(c.Title) > titleMost { // SVG cuts text that does not fit
		fit = fmt.Sprintf(` textLength="%.0f" lengthAdjust="spacingAndGlyphs"`, width-2*right)
	}
	fmt.Fprintf(b, `<text class="title" x="%.0f" y="16"%s>%s</text>`+"\n", right, fit,
		escape(c.Title))
	c.grid(b, x, y)
	for _, s := range c.Series {
		c.line(b, &s, x, y)
	}
	for i, s := range c.Series {
		at := height + 10 + legendLine*float64(i/2)
		from := left + legendColumn*float64(i%2)
		fmt.Fprintf(b,
			`<path class="series" style="%s" d="M%.1f %.1fh24"/><text x="%.1f" y="%.1f">%s</text>`+"\n",
			style(s.Style), from, at-4, from+30, at, escape(s.Name))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// File returns the chart as a standalone file, with its own style and background.
func (c *Chart) File() string {
	head, rest, _ := strings.Cut(c.SVG(), ">\n")
	return head + ">\n<style>" + Style + fileStyle + "</style>\n<path class=\"ground\" d=\"M0 " +
		"0H9999V9999H0Z\"/>\n" + rest
}

const fileStyle = `.chart{color:#1c2026}.chart .ground{fill:#fff}
@media (prefers-color-scheme:dark){.chart{color:#e4e8ee}.chart .ground{fill:#14171c}}
`

// grid draws axes, ticks and labels.
func (c *Chart) grid(b *strings.Builder, x, y scale) {
	for _, t := range c.X.Ticks {
		if at, ok := x.place(t.At); ok {
			from, anchor := at, "middle"
			if at+tickWidth/2*float64(len(t.Text)) > width {
				from, anchor = width-1, "end" // the last label would be cut
			}
			fmt.Fprintf(b,
				`<path class="grid" d="M%.1f %.1fV%.1f"/><text class="tick" x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n",
				at, y.begin, y.end, from, y.begin+16, anchor, escape(t.Text))
		}
	}
	for _, t := range c.Y.Ticks {
		if at, ok := y.place(t.At); ok {
			fmt.Fprintf(b,
				`<path class="grid" d="M%.1f %.1fH%.1f"/><text class="tick" x="%.1f" y="%.1f" text-anchor="end">%s</text>`+"\n",
				x.begin, at, x.end, x.begin-6, at+4, escape(t.Text))
		}
	}
	fmt.Fprintf(b, `<path class="axis" d="M%.1f %.1fV%.1fH%.1f"/>`+"\n", x.begin, y.end, y.begin, x.end)
	fmt.Fprintf(b, `<text class="label" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n",
		(x.begin+x.end)/2, y.begin+34, escape(c.X.Label))
	middle := (y.begin + y.end) / 2
	fmt.Fprintf(b,
		`<text class="label" transform="translate(14 %.1f) rotate(-90)" text-anchor="middle">%s</text>`+"\n",
		middle, escape(c.Y.Label))
}

// line draws one series: bars, line, dots.
func (c *Chart) line(b *strings.Builder, s *Series, x, y scale) {
	path, bars, dots := &strings.Builder{}, &strings.Builder{}, &strings.Builder{}
	step := "M"
	for _, p := range s.Points {
		px, okX := x.place(p.X)
		py, okY := y.place(p.Y)
		if !okX || !okY {
			continue
		}
		fmt.Fprintf(path, "%s%.1f %.1f", step, px, py)
		step = "L"
		low, okLow := y.place(p.Low)
		high, okHigh := y.place(p.High)
		if okLow && okHigh && p.High > p.Low {
			fmt.Fprintf(bars, "M%.1f %.1fV%.1f", px, low, high)
		}
		if c.Marks {
			fmt.Fprintf(dots,
				`<circle class="dot" style="%s" cx="%.1f" cy="%.1f" r="3.2"><title>%s</title></circle>`+"\n",
				style(s.Style), px, py, escape(s.Name+": "+p.Text))
		}
	}
	if bars.Len() > 0 {
		fmt.Fprintf(b, `<path class="bar" style="%s" d="%s"/>`+"\n", style(s.Style), bars)
	}
	if path.Len() > 0 {
		fmt.Fprintf(b, `<path class="series" style="%s" d="%s"><title>%s</title></path>`+"\n",
			style(s.Style), path, escape(s.Name))
	}
	b.WriteString(dots.String())
}

// style returns the CSS of a series' colour and dash.
func style(n int) string {
	dash := []string{"", ";stroke-dasharray:6 3", ";stroke-dasharray:2 3",
		";stroke-dasharray:9 3 2 3"}[n/Colours%4]
	return fmt.Sprintf("--c:var(--series-%d)%s", n%Colours+1, dash)
}

// Style is the style sheet of charts. Its colours are distinguishable for most people, on light and
// dark backgrounds.
const Style = `
:root{--line:#d9dde3;--series-1:#0b63b8;--series-2:#c8500a;--series-3:#087f5b;--series-4:#9c36b5;--series-5:#8a6500;--series-6:#c2255c;--series-7:#2b8a9e;--series-8:#5c6370}
@media (prefers-color-scheme:dark){:root{--line:#353b45;--series-1:#6cb6ff;--series-2:#ff9a5c;--series-3:#57d9a3;--series-4:#d9a1ef;--series-5:#e3c04a;--series-6:#ff8fb3;--series-7:#6fd3e6;--series-8:#a9b1bd}}
.chart{display:block;width:100%;height:auto}
.chart text{fill:currentColor;font:12px system-ui,sans-serif}
.chart .title{font-weight:600;font-size:13px}
.chart .tick{font-size:11px;opacity:.8}
.chart .label{font-size:11.5px;opacity:.8}
.chart .grid{stroke:var(--line);stroke-width:1;fill:none}
.chart .axis{stroke:currentColor;opacity:.5;fill:none}
.chart .series{stroke:var(--c);stroke-width:2;fill:none;stroke-linejoin:round}
.chart .bar{stroke:var(--c);stroke-width:1.2;opacity:.45;fill:none}
.chart .dot{fill:var(--c)}
`
