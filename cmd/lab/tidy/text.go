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
			bad = append(bad, fmt.Sprintf("%s: %d lines, at most %d: split it by content", f.path, f.lines, fileMax))
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

// names forbids names of packages and files that say nothing about their content.
func names(t *tree) (bad []string) {
	empty := regexp.MustCompile(`^(util|utils|common|types|helper|helpers|misc)$`)
	for _, f := range t.files {
		base := strings.TrimSuffix(strings.TrimSuffix(path.Base(f.path), ".go"), "_test")
		if empty.MatchString(base) || empty.MatchString(path.Base(f.dir)) || empty.MatchString(f.ast.Name.Name) {
			bad = append(bad, f.path+": name it after its content")
		}
	}
	return bad
}

// words forbids comments that postpone work: it is done, or recorded as an issue.
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

// top checks the entries at the top of the repository, whose list shows the architecture.
func top(t *tree) (bad []string) {
	must := strings.Fields("actors mailbox transport encode durability telemetry cmd go.mod go.sum README.md Makefile CHANGELOG.md LICENSE docs .ci doc.go")
	may := strings.Fields("deploy .git .gitignore bin dist data sluice-data version.go version_test.go SECURITY.md CONTRIBUTING.md")
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

// sleeps forbids sleeping in tests, which makes them depend on speed. In a synctest bubble time is
// virtual.
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
			bad = append(bad, p+": listed as a test that sleeps, but does not")
		}
	}
	return bad
}

// atomics requires the typed atomics: a field that is used with atomic.AddUint64 can be read
// without it by mistake.
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

// decisions requires records 0001, 0002, ... without gaps, each titled with its number and listed
// in the index.
func decisions(t *tree) (bad []string) {
	const dir = "docs/decisions"
	entries, _ := fs.ReadDir(t.root, dir)
	index, err := fs.ReadFile(t.root, dir+"/README.md")
	if err != nil {
		bad = append(bad, dir+": no README.md with a list of the records")
	}
	record := regexp.MustCompile(`^([0-9]{4})-[a-z0-9-]+\.md$`)
	next := 1
	for _, e := range entries {
		if e.Name() == "README.md" {
			continue
		}
		m := record.FindStringSubmatch(e.Name())
		if m == nil {
			bad = append(bad, path.Join(dir, e.Name())+": a record must be named NNNN-title.md")
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
