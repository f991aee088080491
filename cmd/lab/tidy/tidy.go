package tidy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Check reads the files below root and returns all complaints as "rule: place: what to do", sorted.
// An error is one of reading or parsing.
func Check(root fs.FS) ([]string, error) {
	src, err := load(root)
	if err != nil {
		return nil, err
	}
	var all []string
	for name, rule := range rules() {
		for _, complaint := range rule(src) {
			all = append(all, name+": "+complaint)
		}
	}
	slices.Sort(all)
	return all, nil
}

// rules returns all rules by name.
func rules() map[string]func(*tree) []string {
	return map[string]func(*tree) []string{
		"imports":  imports,
		"docs":     docs,
		"examples": examples,
		"lengths":  lengths,
		"fields":   fields,
		"state":    state,
		"names":    names,
		"words":    words,
		"top":      top,
		"sleeps": func(t *tree) []string {
			return sleeps(t, map[string]string{}) // path of a test that may sleep outside a synctest bubble: the reason
		},
		"clocks": func(t *tree) []string {
			return clocks(t, map[string]string{"transport/peer/tls.go": "certificates are valid from one " +
				"date to another"})
		},
		"atomics":      atomics,
		"decisions":    decisions,
		"pages":        pages,
		"modules":      modules,
		"dependencies": dependencies,
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
			if skipped(p) {
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

// imports returns the import paths of a file.
func (f *source) imports() (list []string) {
	for _, spec := range f.ast.Imports {
		list = append(list, strings.Trim(spec.Path.Value, `"`))
	}
	return list
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
