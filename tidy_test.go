package sluice

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// The house rules. Each is a function from a tree to complaints, so that the
// self-tests in plantings can show it a tree that breaks it.

// rules returns every rule under the name that the self-tests use.
func rules() map[string]func(*tree) []string {
	return map[string]func(*tree) []string{
		"imports":  imports,
		"docs":     docs,
		"examples": examples,
		"lengths":  lengths,
		"state":    state,
		"names":    names,
		"words":    words,
		"top":      top,
		"sleeps": func(t *tree) []string {
			return sleeps(t, map[string]string{}) // path of a test that may sleep outside a synctest bubble: the reason
		},
		"atomics":   atomics,
		"decisions": decisions,
	}
}

func TestTidy(t *testing.T) {
	src, err := load(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	for name, rule := range rules() {
		t.Run(name, func(t *testing.T) {
			for _, complaint := range slices.Sorted(slices.Values(rule(src))) {
				t.Error(complaint)
			}
		})
	}
}

// tree is the parsed source below a root.
type tree struct {
	root  fs.FS
	set   *token.FileSet
	files []*source
}

// source is one Go file.
type source struct {
	path  string // slash-separated, relative to the root
	dir   string // "." for the root
	test  bool
	lines int
	ast   *ast.File
}

func load(root fs.FS) (*tree, error) {
	t := &tree{root: root, set: token.NewFileSet()}
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := path.Base(p); p != "." && (strings.HasPrefix(base, ".") || base == "testdata" || p == "bin" || p == "data") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		text, err := fs.ReadFile(root, p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(t.set, p, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		t.files = append(t.files, &source{
			path: p, dir: path.Dir(p), test: strings.HasSuffix(p, "_test.go"),
			lines: strings.Count(string(text), "\n"), ast: f,
		})
		return nil
	})
	return t, err
}

func (t *tree) at(n ast.Node) string { return t.set.Position(n.Pos()).String() }

// packages groups the files by directory.
func (t *tree) packages() map[string][]*source {
	files := make(map[string][]*source)
	for _, f := range t.files {
		files[f.dir] = append(files[f.dir], f)
	}
	return files
}

func leaf(area string) bool {
	return slices.Contains([]string{"mailbox", "durability", "encode", "transport", "telemetry"}, area)
}

// imports holds the star: leaves do not know one another, actors sees the
// leaves, cmd sees everything, and each foreign module has its place.
func imports(t *tree) (bad []string) {
	for _, f := range t.files {
		for _, spec := range f.ast.Imports {
			p := strings.Trim(spec.Path.Value, `"`)
			why := ""
			if own, ok := strings.CutPrefix(p, "sluice/"); ok {
				why = ownImport(f, own)
			} else if strings.Contains(strings.SplitN(p, "/", 2)[0], ".") {
				why = foreignImport(f, p)
			}
			if why != "" {
				bad = append(bad, fmt.Sprintf("%s imports %s: %s", t.at(spec), p, why))
			}
		}
	}
	return bad
}

func ownImport(f *source, to string) string {
	from, _, fromSub := strings.Cut(f.dir, "/")
	target, _, sub := strings.Cut(to, "/")
	switch {
	case from == "cmd":
		return ""
	case target == "cmd":
		return "only cmd wires programs"
	case from == "actors":
		if f.test && to == f.dir || leaf(target) && (!sub || f.test) {
			return ""
		}
		return "actors imports the leaves, their subpackages are for cmd (and tests)"
	case leaf(from) && target == from:
		if fromSub || f.test || !sub {
			return ""
		}
		return "a subpackage may import its parent, never the other way"
	}
	return "the leaves do not know one another, nor who uses them"
}

func foreignImport(f *source, to string) string {
	in := func(modules ...string) bool {
		return slices.ContainsFunc(modules, func(m string) bool { return to == m || strings.HasPrefix(to, m+"/") })
	}
	area, _, _ := strings.Cut(f.dir, "/")
	switch {
	case in("github.com/pawelgaczynski/giouring"):
		if f.dir != "transport" && f.dir != "cmd/peers" {
			return "only package transport touches the io_uring library, and the peers that it is compared with"
		}
	case in("go.opentelemetry.io", "github.com/prometheus"):
		if f.dir != "telemetry/otel" && area != "cmd" && !(f.test && f.dir != area) {
			return "only telemetry/otel and cmd export"
		}
	case in("golang.org/x/sys", "github.com/cespare/xxhash/v2"):
	case f.dir == "actors" || leaf(f.dir) || f.dir == ".":
		return "the core needs x/sys, xxhash and the io_uring library only"
	}
	return ""
}

// docs asks for a doc.go with a package comment in every package.
func docs(t *tree) (bad []string) {
	for dir, files := range t.packages() {
		i := slices.IndexFunc(files, func(f *source) bool { return path.Base(f.path) == "doc.go" })
		switch {
		case i < 0:
			bad = append(bad, dir+": no doc.go")
		case files[i].ast.Doc == nil:
			bad = append(bad, files[i].path+": no package comment")
		}
	}
	return bad
}

// examples asks for a runnable example in every package that is not a program.
func examples(t *tree) (bad []string) {
	for dir, files := range t.packages() {
		if dir == "." || slices.ContainsFunc(files, func(f *source) bool { return f.ast.Name.Name == "main" }) {
			continue
		}
		if !slices.ContainsFunc(files, hasExample) {
			bad = append(bad, dir+": no Example with output")
		}
	}
	return bad
}

func hasExample(f *source) bool {
	if !f.test {
		return false
	}
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Example") {
			continue
		}
		for _, c := range f.ast.Comments {
			if c.Pos() > fn.Pos() && c.End() < fn.End() && strings.Contains(strings.ToLower(c.Text()), "output:") {
				return true
			}
		}
	}
	return false
}

// lengths limits files and functions.
func lengths(t *tree) (bad []string) {
	for _, f := range t.files {
		fileMax, funcMax := 400, 70
		if f.test {
			fileMax, funcMax = 600, 120
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

// state forbids package variables that can change. What stays: error sentinels,
// interface assertions, embedded files, and tables that nothing assigns to.
func state(t *tree) (bad []string) {
	for _, files := range t.packages() {
		changed := make(map[string]bool)
		for _, f := range files {
			noteChanges(f.ast, changed)
		}
		for _, f := range files {
			if !f.test {
				bad = append(bad, stateOf(t, f, changed)...)
			}
		}
	}
	return bad
}

func stateOf(t *tree, f *source, changed map[string]bool) (bad []string) {
	for _, d := range f.ast.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.VAR {
			continue
		}
		for _, s := range decl.Specs {
			spec := s.(*ast.ValueSpec)
			for i, name := range spec.Names {
				var value ast.Expr
				if i < len(spec.Values) {
					value = spec.Values[i]
				}
				if name.Name != "_" && !embedded(decl, spec) && (changed[name.Name] || !constant(name.Name, value)) {
					bad = append(bad, fmt.Sprintf("%s: package variable %s is state: give it an owner", t.at(name), name.Name))
				}
			}
		}
	}
	return bad
}

func embedded(decl *ast.GenDecl, spec *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{decl.Doc, spec.Doc} {
		if doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") }) {
			return true
		}
	}
	return false
}

// constant tells whether a value would be a constant if the language had it.
func constant(name string, value ast.Expr) bool {
	switch v := value.(type) {
	case *ast.CompositeLit:
		switch v.Type.(type) {
		case *ast.ArrayType, *ast.MapType:
			return true
		}
	case *ast.CallExpr:
		switch callee(v) {
		case "errors.New", "fmt.Errorf":
			return strings.HasPrefix(name, "Err") || strings.HasPrefix(name, "err")
		case "regexp.MustCompile", "strings.NewReplacer":
			return true
		}
	}
	return false
}

// callee returns "package.Function" for a call of that form.
func callee(c *ast.CallExpr) string {
	if sel, ok := c.Fun.(*ast.SelectorExpr); ok {
		if x, ok := sel.X.(*ast.Ident); ok {
			return x.Name + "." + sel.Sel.Name
		}
	}
	return ""
}

// noteChanges notes every name that is assigned to, incremented, deleted from or whose
// address is taken. It looks at names only: a local of the same name counts.
func noteChanges(f *ast.File, changed map[string]bool) {
	note := func(e ast.Expr) { // the first name of a.b[c] is the variable
		ast.Inspect(e, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && e != nil {
				changed[id.Name], e = true, nil
			}
			return e != nil
		})
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.AssignStmt:
			for _, e := range x.Lhs {
				if x.Tok != token.DEFINE {
					note(e)
				}
			}
		case *ast.IncDecStmt:
			note(x.X)
		case *ast.UnaryExpr:
			if x.Op == token.AND {
				note(x.X)
			}
		case *ast.CallExpr:
			if fn, ok := x.Fun.(*ast.Ident); ok && len(x.Args) > 0 && (fn.Name == "delete" || fn.Name == "clear" || fn.Name == "copy") {
				note(x.Args[0])
			}
		}
		return true
	})
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
	must := strings.Fields("actors mailbox transport encode durability telemetry cmd go.mod go.sum README.md Makefile CHANGELOG.md LICENSE docs .ci doc.go tidy_test.go")
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

// planted is a tree that keeps every rule, changed by pairs of path and text;
// an empty text removes the file.
func planted(change ...string) fstest.MapFS {
	m := fstest.MapFS{}
	put := func(name, text string) { m[name] = &fstest.MapFile{Data: []byte(text)} }
	for _, name := range strings.Fields("go.mod go.sum README.md Makefile CHANGELOG.md LICENSE .ci/run tidy_test.go deploy/unit") {
		put(name, "package sluice\n")
	}
	for _, dir := range strings.Fields("mailbox durability durability/journal encode transport transport/wire telemetry telemetry/otel actors cmd/tool") {
		name := path.Base(dir)
		put(dir+"/doc.go", "// Package "+name+" is there.\npackage "+name+"\n")
		put(dir+"/example_test.go", "package "+name+"\nfunc Example() {\n// Output:\n}\n")
	}
	put("doc.go", "// Package sluice is the map.\npackage sluice\n")
	put("docs/decisions/README.md", "[one](0001-one.md) [two](0002-two.md)")
	put("docs/decisions/0001-one.md", "# 0001: one")
	put("docs/decisions/0002-two.md", "# 0002: two")
	for i := 0; i < len(change); i += 2 {
		put(change[i], change[i+1])
		if change[i+1] == "" {
			delete(m, change[i])
		}
	}
	return m
}

func TestRulesSeeWhatTheyForbid(t *testing.T) {
	many := func(n int) string { return strings.Repeat("\n", n) }
	use := func(pkg string) string { return "package p\nimport _ \"" + pkg + "\"\n" }
	const sleep = "package p\nfunc Test() { time.Sleep(1) }\n"
	for _, tt := range []struct{ rule, path, text, want string }{
		{"imports", "mailbox/a.go", use("sluice/telemetry"), "a.go:2:8 imports sluice/telemetry: the leaves do not know one another"},
		{"imports", "mailbox/a_test.go", use("sluice/encode"), "the leaves do not know one another"},
		{"imports", "encode/a.go", use("sluice/actors"), "nor who uses them"},
		{"imports", "transport/a.go", use("sluice/transport/wire"), "never the other way"},
		{"imports", "transport/wire/a.go", use("sluice/durability/journal"), "do not know one another"},
		{"imports", "actors/a.go", use("sluice/transport/wire"), "subpackages are for cmd"},
		{"imports", "actors/a_test.go", use("sluice/cmd/tool"), "only cmd wires"},
		{"imports", "doc.go", use("sluice/mailbox"), "do not know one another"},
		{"imports", "transport/wire/a.go", use("github.com/pawelgaczynski/giouring"), "only package transport"},
		{"imports", "telemetry/a.go", use("go.opentelemetry.io/otel"), "only telemetry/otel"},
		{"imports", "transport/wire/a.go", use("github.com/prometheus/client_golang/prometheus"), "only telemetry/otel"},
		{"imports", "mailbox/a.go", use("go.uber.org/zap"), "the core needs"},
		{"docs", "encode/doc.go", "", "encode: no doc.go"},
		{"docs", "encode/doc.go", "package encode\n", "no package comment"},
		{"examples", "actors/example_test.go", "package p\nfunc TestX() {}\n", "actors: no Example"},
		{"examples", "actors/example_test.go", "package p\nfunc Example() {}\n", "actors: no Example"},
		{"lengths", "encode/a.go", "package p" + many(401), "a.go: 401 lines"},
		{"lengths", "encode/a_test.go", "package p" + many(601), "601 lines"},
		{"lengths", "encode/a.go", "package p\nfunc f() {" + many(70) + "}\n", "f has 71 lines"},
		{"lengths", "encode/a_test.go", "package p\nfunc (t T) f() {" + many(120) + "}\n", "f has 121 lines"},
		{"state", "encode/a.go", "package p\nvar n int\n", "a.go:2:5: package variable n"},
		{"state", "encode/a.go", "package p\nvar cache = map[string]int{}\nfunc f() { cache[\"a\"] = 1 }\n", "variable cache"},
		{"state", "encode/a.go", "package p\nvar t = [2]int{}\nfunc f() { t[0]++ }\n", "variable t"},
		{"state", "encode/a.go", "package p\nvar t = [2]int{}\nfunc f() { g(&t) }\n", "variable t"},
		{"state", "encode/a.go", "package p\nvar ErrX = errors.New(\"x\")\nfunc f() { ErrX = nil }\n", "variable ErrX"},
		{"state", "encode/a.go", "package p\nvar mu = new(sync.Mutex)\n", "variable mu"},
		{"names", "encode/util.go", "package encode\n", "encode/util.go: name it"},
		{"names", "encode/helpers_test.go", "package encode\n", "name it"},
		{"names", "actors/common/a.go", "package common\n", "name it"},
		{"words", "encode/a.go", "package p\n// TODO: later\n", "a.go:2:1: a comment says TODO"},
		{"top", "scratch.txt", "x", "scratch.txt: does not belong"},
		{"top", "internal/a.go", "package internal\n", "internal: does not belong"},
		{"top", "LICENSE", "", "LICENSE: missing"},
		{"sleeps", "encode/a_test.go", sleep, "a_test.go:2:15: a test sleeps"},
		{"atomics", "encode/a.go", "package p\nfunc f() { atomic.AddUint64(&n, 1) }\n", "atomic.AddUint64: use the typed"},
		{"decisions", "docs/decisions/0004-four.md", "# 0004", "the next number is 0003"},
		{"decisions", "docs/decisions/0002-again.md", "# 0002", "the next number is 0003"},
		{"decisions", "docs/decisions/0003-three.md", "# 0003", "0003-three.md: not in the index"},
		{"decisions", "docs/decisions/0002-two.md", "# 0003", "does not begin with"},
		{"decisions", "docs/decisions/notes.md", "x", "called NNNN-title.md"},
	} {
		src, err := load(planted(tt.path, tt.text))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(rules()[tt.rule](src), "\n"); !strings.Contains(got, tt.want) {
			t.Errorf("%s does not see %q in %s; it says %q, want %q", tt.rule, tt.text, tt.path, got, tt.want)
		}
	}
}

func TestRulesAcceptWhatIsAllowed(t *testing.T) {
	const sleep = "package p\nfunc Test() { synctest.Test(t, func() { time.Sleep(1) }) }\n"
	src, err := load(planted(
		"encode/a_test.go", sleep,
		"encode/a.go", "package p\nvar ErrX = errors.New(\"x\")\nvar names = [2]string{}\n//go:embed x\nvar page string\nvar _ I = (*T)(nil)\n",
		"durability/journal/a.go", "package p\nimport _ \"sluice/durability\"\nimport _ \"go.uber.org/zap\"\n",
		"actors/a.go", "package p\nimport _ \"sluice/transport\"\n",
		"actors/a_test.go", "package p\nimport _ \"sluice/transport/wire\"\nimport _ \"sluice/actors\"\n",
		"transport/a.go", "package p\nimport _ \"github.com/pawelgaczynski/giouring\"\nimport _ \"golang.org/x/sys/unix\"\n",
		"telemetry/otel/a.go", "package p\nimport _ \"go.opentelemetry.io/otel\"\nimport _ \"sluice/telemetry\"\n",
		"cmd/tool/a.go", "package p\nimport _ \"sluice/actors\"\nimport _ \"sluice/transport/wire\"\n",
	))
	if err != nil {
		t.Fatal(err)
	}
	for name, rule := range rules() {
		if name == "sleeps" {
			rule = func(t *tree) []string { return sleeps(t, nil) }
		}
		for _, complaint := range rule(src) {
			t.Errorf("%s: %s", name, complaint)
		}
	}
	if got := sleeps(src, map[string]string{"encode/a_test.go": "no longer"}); len(got) != 1 {
		t.Errorf("an exception that nothing needs is not seen: %q", got)
	}
}
