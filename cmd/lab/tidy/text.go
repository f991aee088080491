package tidy

import (
	"fmt"
	"go/ast"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// lengths limits files and functions.
func lengths(t *tree) (bad []string) {
	for _, f := range t.files {
		fileMax, funcMax := 400, 70
		if f.test {
			funcMax = 120
		}
		if f.lines > fileMax {
			bad = append(bad, fmt.Sprintf("%s: %d lines, at most %d: split it by what it does", f.path, f.lines, fileMax))
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := t.set.Position(fn.End()).Line - t.set.Position(fn.Pos()).Line + 1
			if n > funcMax {
				bad = append(bad, fmt.Sprintf("%s: %s has %d lines, at most %d", t.at(fn), fn.Name.Name, n, funcMax))
			}
		}
	}
	return bad
}

// names forbids packages and files that are named after nothing.
func names(t *tree) (bad []string) {
	empty := regexp.MustCompile(`^(util|utils|common|types|helper|helpers|misc)$`)
	for _, f := range t.files {
		base := strings.TrimSuffix(strings.TrimSuffix(path.Base(f.path), ".go"), "_test")
		if empty.MatchString(base) || empty.MatchString(path.Base(f.dir)) || empty.MatchString(f.ast.Name.Name) {
			bad = append(bad, f.path+": name it after what it does")
		}
	}
	return bad
}

// words forbids comments that postpone: an issue is fixed, or it is written
// down where people look.
func words(t *tree) (bad []string) {
	later := regexp.MustCompile(`\b(TODO|FIXME|XXX)\b`)
	for _, f := range t.files {
		for _, g := range f.ast.Comments {
			for _, c := range g.List {
				if w := later.FindString(c.Text); w != "" {
					bad = append(bad, fmt.Sprintf("%s: a comment says %s", t.at(c), w))
				}
			}
		}
	}
	return bad
}

// top holds the listing that shows the architecture.
func top(t *tree) (bad []string) {
	must := strings.Fields("actors mailbox transport encode durability telemetry cmd go.mod go.sum README.md Makefile CHANGELOG.md LICENSE docs .ci doc.go")
	may := strings.Fields("deploy .git .gitignore bin data sluice-data")
	entries, _ := fs.ReadDir(t.root, ".")
	for _, e := range entries {
		i := slices.Index(must, e.Name())
		if i >= 0 {
			must = slices.Delete(must, i, i+1)
		} else if !slices.Contains(may, e.Name()) {
			bad = append(bad, e.Name()+": does not belong at the top")
		}
	}
	for _, name := range must {
		bad = append(bad, name+": missing at the top")
	}
	return bad
}

// sleeps forbids tests that depend on speed. Sleeping in a synctest bubble is virtual.
func sleeps(t *tree, allowed map[string]string) (bad []string) {
	used := make(map[string]bool)
	for _, f := range t.files {
		if !f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			switch callee(call) {
			case "synctest.Test":
				return false
			case "time.Sleep":
				if used[f.path] = true; allowed[f.path] == "" {
					bad = append(bad, t.at(call)+": a test sleeps: wait for the event, or use synctest")
				}
			}
			return true
		})
	}
	for p := range allowed {
		if !used[p] {
			bad = append(bad, p+": on the list of tests that sleep, and does not")
		}
	}
	return bad
}

// atomics asks for the typed ones: a plain field next to atomic.AddUint64 can be
// read without it.
func atomics(t *tree) (bad []string) {
	raw := regexp.MustCompile(`^atomic\.(Load|Store|Add|Swap|CompareAndSwap|And|Or)[A-Z]`)
	for _, f := range t.files {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && raw.MatchString(callee(call)) {
				bad = append(bad, t.at(call)+": "+callee(call)+": use the typed atomics")
			}
			return true
		})
	}
	return bad
}

// decisions asks for records 0001, 0002, ... each titled with its number and
// listed in the index.
func decisions(t *tree) (bad []string) {
	const dir = "docs/decisions"
	entries, _ := fs.ReadDir(t.root, dir)
	index, err := fs.ReadFile(t.root, dir+"/README.md")
	if err != nil {
		bad = append(bad, dir+": no README.md that lists the records")
	}
	record := regexp.MustCompile(`^([0-9]{4})-[a-z0-9-]+\.md$`)
	next := 1
	for _, e := range entries {
		if e.Name() == "README.md" {
			continue
		}
		m := record.FindStringSubmatch(e.Name())
		if m == nil {
			bad = append(bad, path.Join(dir, e.Name())+": a record is called NNNN-title.md")
			continue
		}
		if want := fmt.Sprintf("%04d", next); m[1] != want {
			bad = append(bad, fmt.Sprintf("%s: the next number is %s", path.Join(dir, e.Name()), want))
		}
		fmt.Sscanf(m[1], "%d", &next)
		next++
		text, err := fs.ReadFile(t.root, path.Join(dir, e.Name()))
		if err != nil || !strings.HasPrefix(string(text), "# "+m[1]) {
			bad = append(bad, path.Join(dir, e.Name())+": does not begin with \"# "+m[1]+"\"")
		}
		if !strings.Contains(string(index), "("+e.Name()+")") {
			bad = append(bad, path.Join(dir, e.Name())+": not in the index")
		}
	}
	return bad
}
