package bench

// goalLine is a goal and what became of it, in words.
type goalLine struct {
	what, goal, measured string
	verdict              string // met, missed, or not measured
}

// goalCells are the cells of a table of goals, the first line its head.
func goalCells(lines []goalLine) [][]string {
	cells := [][]string{{"what", "goal", "measured", "verdict"}}
	for _, l := range lines {
		cells = append(cells, []string{l.what, l.goal, l.measured, l.verdict})
	}
	return cells
}
