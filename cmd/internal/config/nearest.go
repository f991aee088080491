package config

// Nearest returns the candidate with the fewest edits from name, and their number. An edit inserts,
// removes or replaces a letter, or swaps two neighbours. Without candidates Nearest returns "" and
// a large number.
func Nearest(name string, candidates []string) (best string, edits int) {
	edits = 1 << 20
	for _, c := range candidates {
		if d := distance(name, c); d < edits {
			best, edits = c, d
		}
	}
	return best, edits
}

// DidYouMean returns "did you mean X? ", or "" if no candidate is near.
func DidYouMean(name string, candidates []string) string {
	if best, edits := Nearest(name, candidates); edits <= max(1, min(len(name), len(best))/3) {
		return "did you mean " + best + "? "
	}
	return ""
}

// distance returns the number of edits between a and b. row[j] is the distance of a[:i] from b[:j].
func distance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		older := before
		before, row = row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(before[j]+1, row[j-1]+1, before[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], older[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
