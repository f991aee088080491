package tidy

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
)

func leaf(area string) bool {
	return slices.Contains([]string{"mailbox", "durability", "encode", "transport", "telemetry"}, area)
}

// imports checks the star of packages: leaves do not import one another, actors imports the leaves,
// cmd imports everything, and each foreign module is imported in its place only.
func imports(t *tree) (bad []string) {
	for _, f := range t.files {
		for _, spec := range f.ast.Imports {
			p := strings.Trim(spec.Path.Value, `"`)
			why := ""
			own, ok := strings.CutPrefix(p+"/", "sluice/")
			switch {
			case ok && own == "": // the top has the version only
			case ok:
				why = ownImport(f, strings.TrimSuffix(own, "/"))
			case strings.Contains(strings.SplitN(p, "/", 2)[0], "."):
				why = foreignImport(f, p)
			}
			if why != "" {
				bad = append(bad, fmt.Sprintf("%s imports %s: %s", t.at(spec), p, why))
			}
		}
	}
	return bad
}

// floors lists the packages of actors from the bottom up: each may import those that its entry
// names (with what lies below them), and the leaves. Only package actors and actors/internal keep
// away from the subpackages of the leaves.
var floors = map[string][]string{
	"actors/internal":     {"actors/internal"},
	"actors":              {"actors/internal"},
	"actors/sequencer":    {"actors/internal", "actors"},
	"actors/node/inspect": {"actors/internal", "actors", "actors/sequencer"},
	"actors/node":         {"actors/internal", "actors", "actors/sequencer", "actors/node/inspect"},
	"actors/node/cluster": {"actors/internal", "actors", "actors/sequencer", "actors/node/inspect", "actors/node"},
	"actors/node/observe": {"actors/internal", "actors", "actors/sequencer", "actors/node/inspect", "actors/node",
		"actors/node/observe"},
}

// floor returns the entry of floors that a package belongs to: the longest that is a prefix of its
// path.
func floor(dir string) string {
	for ; dir != "."; dir = path.Dir(dir) {
		if _, ok := floors[dir]; ok {
			return dir
		}
	}
	return ""
}

func ownImport(f *source, to string) string {
	from, _, fromSub := strings.Cut(f.dir, "/")
	target, _, sub := strings.Cut(to, "/")
	switch {
	case below(to, "cmd/lab") && !below(f.dir, "cmd/lab"):
		return "the modules of cmd/lab test the main module, which must not import them"
	case from == "cmd":
		return ""
	case below(to, "cmd/orderbook") && f.test && strings.HasPrefix(f.dir, "actors/node"):
		return "" // the example application, and its client
	case target == "cmd":
		return "only cmd imports from cmd"
	case from == "actors":
		return actorsImport(f, to)
	case leaf(from) && target == from:
		if fromSub || f.test || !sub {
			return ""
		}
		return "a subpackage may import its parent, never the other way"
	}
	return "the leaves import neither one another nor their users"
}

func actorsImport(f *source, to string) string {
	target, _, sub := strings.Cut(to, "/")
	at := floor(f.dir)
	core := at == "actors" || at == "actors/internal"
	switch {
	case f.test && to == f.dir:
		return ""
	case to == "telemetry/otel/otlp" && !f.test:
		return "a program that only serves /metrics does not link gRPC: " +
			"programs and tests choose the OTLP exporters"
	case leaf(target) && (!sub || f.test || !core):
		return ""
	case target == "actors" && slices.Contains(floors[at], floor(to)):
		return ""
	case leaf(target):
		return "package actors imports the leaves; subpackages of leaves are for the subpackages of actors, for cmd and for tests"
	}
	return at + " lies below " + to + ", or beside it"
}

func foreignImport(f *source, to string) string {
	in := func(modules ...string) bool {
		return slices.ContainsFunc(modules, func(m string) bool { return below(to, m) })
	}
	area, _, _ := strings.Cut(f.dir, "/")
	switch {
	case in("github.com/pawelgaczynski/giouring"):
		if f.dir != "transport" && path.Base(f.dir) != "peers" {
			return "only package transport and the peers import the io_uring library"
		}
	case in("go.opentelemetry.io/otel/exporters/otlp"):
		if f.dir != "telemetry/otel/otlp" {
			return "only telemetry/otel/otlp imports the OTLP exporters, because they link gRPC"
		}
	case in("go.opentelemetry.io", "github.com/prometheus"):
		if !below(f.dir, "telemetry/otel") && area != "cmd" && floor(f.dir) != "actors/node/observe" && !(f.test && f.dir != area) {
			return "only telemetry/otel, actors/node/observe and cmd import exporters"
		}
	case in("golang.org/x/sys", "github.com/cespare/xxhash/v2"):
	case f.dir == "actors" || leaf(f.dir) || below(f.dir, "transport") || f.dir == ".":
		return "the core imports x/sys, xxhash and the io_uring library only"
	}
	return ""
}

// docs requires a doc.go with a package comment in every package.
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

// examples requires a runnable example in every package that is not a program.
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
