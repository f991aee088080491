package chart

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
)

// wellFormed reads the text as XML to its end.
func wellFormed(text string) error {
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		switch _, err := d.Token(); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("not XML: %w", err)
		}
	}
}

func TestOutputIsWellFormedAndFinite(t *testing.T) {
	for _, tt := range []struct {
		name  string
		chart Chart
	}{
		{"nothing", Chart{}},
		{"names with markup", Chart{Title: `<b> & "quotes"`,
			Series: []Series{{Name: "<script>", Points: []Point{{X: 1, Y: 1, Text: "&"}}}},
			Marks:  true}},
		{"names that XML cannot contain", Chart{Title: "a\x01\xff\ufffe", Marks: true,
			X:      Axis{Label: "\x00", Ticks: []Tick{{At: 1, Text: "\x02"}}},
			Y:      Axis{Label: "\xc3", Ticks: []Tick{{At: 1, Text: "\x7f\b"}}},
			Series: []Series{{Name: "\v", Points: []Point{{X: 1, Y: 1, Text: "\x1b[0m"}}}}}},
		{"one point", Chart{X: Axis{Log: true}, Y: Axis{Log: true},
			Series: []Series{{Points: []Point{{X: 1, Y: 1}}}}}},
		{"values without a position",
			Chart{Y: Axis{Log: true},
				Series: []Series{{Points: []Point{{X: 1, Y: 0}, {X: math.NaN(), Y: 1},
					{X: 2, Y: math.Inf(1)}, {X: 3, Y: 4, Low: 0, High: 9}}}}, Marks: true}},
		{"more series than colours",
			Chart{Series: []Series{{Style: 0}, {Style: Colours}, {Style: 5 * Colours}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, svg := range []string{tt.chart.SVG(), tt.chart.File()} {
				if err := wellFormed(svg); err != nil {
					t.Errorf("%v in\n%s", err, svg)
				}
				if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
					t.Errorf("a position that is not finite in\n%s", svg)
				}
			}
		})
	}
}

func TestExtremeValuesHavePositions(t *testing.T) {
	for _, tt := range []struct {
		points []Point
		want   string
	}{
		{[]Point{{X: -math.MaxFloat64, Y: math.MaxFloat64}, {X: math.MaxFloat64, Y: -math.MaxFloat64}},
			`d="M62.0 30.0L624.0 286.0"`},
		{[]Point{{X: 1e17, Y: math.MaxFloat64}}, `d="M343.0 158.0"`}, // alone: in the middle
		{[]Point{{X: 1, Y: 1}, {X: math.Inf(1), Y: 1}}, `d="M343.0 158.0"`},
	} {
		c := Chart{Series: []Series{{Points: tt.points}}}
		if svg := c.SVG(); !strings.Contains(svg, tt.want) {
			t.Errorf("%v: want %s in\n%s", tt.points, tt.want, svg)
		}
	}
}

func TestLastTickIsNotCut(t *testing.T) {
	c := Chart{X: Axis{Ticks: PercentileTicks(99.999)}}
	svg := c.SVG()
	for text, want := range map[string]string{"99.999%": `text-anchor="end">99.999%`,
		"99%": `text-anchor="middle">99%`} {
		if !strings.Contains(svg, want) {
			t.Errorf("tick %s is not drawn as %s in\n%s", text, want, svg)
		}
	}
}

func TestTicksSpanTheValues(t *testing.T) {
	for _, tt := range []struct {
		least, most float64
		want        string
	}{
		{3, 40, "2 5 10 20 50"},
		{1, 1, "1"},
		{7, 7, "5 10"},
		{30, 2e6, "10 100 1000 10000 100000 1e+06 1e+07"},
		{0, 5, ""},
		{math.NaN(), 5, ""},
	} {
		var got []string
		for _, tick := range LogTicks(tt.least, tt.most,
			func(v float64) string { return fmt.Sprint(v) }) {
			got = append(got, tick.Text)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("ticks of %v to %v are %q, want %q", tt.least, tt.most, got, tt.want)
		}
	}
}
