package top

import (
	"fmt"
	"math"
	"strings"

	"sluice/actors/node/observe/status"
)

const (
	plotLeft  = 8 // columns for the labels of the axis
	plotRight = 2
)

// plot draws p50, p99 and p99.9 over the last minutes on a logarithmic axis of decades. A column
// shows the worst of its seconds.
func (p *painter) plot(rows int, axis bool) {
	shown := status.Kept
	for _, n := range []int{120, 60} {
		if len(p.s.Points) <= n {
			shown = n
		}
	}
	legend := fmt.Sprintf("%s  %s  %s  ", p.paint("• p50", blue), p.paint("+ p99", gold),
		p.paint("× p99.9", red))
	span := fmt.Sprintf("each second, last %d s", shown)
	p.line(p.paint("response latency", bold) + "  " + legend + p.paint(span, soft))
	low, high := math.Inf(1), 0.0
	for _, x := range p.s.Points {
		if x.Whole != nil {
			low, high = min(low, float64(x.Whole.P50)), max(high, float64(x.Whole.P999))
		}
	}
	if high == 0 {
		p.line(fmt.Sprintf("%*sno responses in the last %d minutes", plotLeft, "", status.Kept/60))
		return
	}
	bottom := math.Floor(math.Log10(max(low, 1)))
	top := max(math.Ceil(math.Log10(max(high, 1)*1.0001)), bottom+1)
	row := func(log float64) int {
		return rows - 1 - int(math.Round((log-bottom)/(top-bottom)*float64(rows-1)))
	}
	labels := make([]string, rows)
	for e := bottom; e <= top; e++ {
		labels[row(e)] = decade(e)
	}
	columns := p.Width - plotLeft - plotRight
	for i, signs := range p.grid(rows, columns, shown, row) {
		p.line(fmt.Sprintf("%*s ", plotLeft-1, labels[i]) + p.signs(signs))
	}
	if axis {
		ago := fmt.Sprintf("-%d s", shown)
		p.line(p.paint(fmt.Sprintf("%*s%s%*s", plotLeft, "", ago, columns-len(ago), "now"), soft))
	}
}

// grid places the signs. row returns the row of a decimal logarithm.
func (p *painter) grid(rows, columns, shown int, row func(log float64) int) [][]rune {
	grid := make([][]rune, rows)
	for i := range grid {
		grid[i] = []rune(strings.Repeat(" ", columns))
	}
	for i, x := range p.s.Points {
		at := columns - 1 - (len(p.s.Points)-1-i)*columns/shown
		if x.Whole == nil || at < 0 {
			continue
		}
		for _, mark := range []struct {
			ns   uint64
			sign rune
		}{{x.Whole.P999, '×'}, {x.Whole.P99, '+'}, {x.Whole.P50, '•'}} {
			grid[row(math.Log10(max(float64(mark.ns), 1)))][at] = mark.sign
		}
	}
	return grid
}

// signs colours a row of the plot.
func (p *painter) signs(row []rune) string {
	if !p.Color {
		return string(row)
	}
	return strings.NewReplacer("•", p.paint("•", blue), "+", p.paint("+", gold), "×",
		p.paint("×", red)).Replace(string(row))
}
