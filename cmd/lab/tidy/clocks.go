package tidy

import (
	"fmt"
	"go/ast"
	"slices"
)

// clocks forbids wall clocks in the packages that keep the log of a cluster, so that a node whose clock is
// wrong neither loses nor gains a leadership by it. In raftlog, time is an argument. The others may measure:
// time.Now has a monotonic part, which Sub, Since, Until and deadlines use. A use of the other part is
// forbidden by name. except is files that need the date, with the reason.
func clocks(t *tree, except map[string]string) (bad []string) {
	dates := []string{"Unix", "UnixNano", "UnixMicro", "UnixMilli", "Wall", "Round", "Truncate", "UTC", "Local", "In",
		"Format", "AppendFormat", "Date", "Weekday", "YearDay", "MarshalText", "MarshalJSON", "MarshalBinary"}
	forbidden := map[string][]string{
		"durability/raftlog":  append([]string{"Now", "Since", "Until", "After", "NewTimer", "NewTicker"}, dates...),
		"actors/node/cluster": dates,
		"transport/peer":      dates,
	}
	for _, f := range t.files {
		if f.test || forbidden[f.dir] == nil || except[f.path] != "" || !slices.Contains(f.imports(), "time") {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains(forbidden[f.dir], sel.Sel.Name) {
				bad = append(bad, fmt.Sprintf("%s reads a clock by %s: what keeps the log of a cluster "+
					"must not depend on "+
					"the wall clock; measure by time that is passed in, or by time.Since", t.at(sel.Sel), sel.Sel.Name))
			}
			return true
		})
	}
	return bad
}
