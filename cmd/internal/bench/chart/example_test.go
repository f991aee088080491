package chart_test

import (
	"fmt"
	"strings"

	"sluice/cmd/internal/bench/chart"
)

func ExampleChart_SVG() {
	c := chart.Chart{
		Title: "latency",
		X:     chart.Axis{Label: "percentile", Ticks: chart.PercentileTicks(99)},
		Series: []chart.Series{{Name: "server", Points: []chart.Point{
			{X: chart.Percentile(50), Y: 100}, {X: chart.Percentile(99), Y: 700},
		}}},
	}
	for line := range strings.Lines(c.SVG()) {
		if strings.Contains(line, "<title>server") {
			fmt.Print(line)
		}
	}
	// Output:
	// <path class="series" style="--c:var(--series-1)" d="M146.6 286.0L624.0 30.0"><title>server</title></path>
}
