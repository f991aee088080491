package tidy

import (
	"fmt"
	"go/ast"
	"path"
	"strings"
)

const (
	fieldsMost     = 20 // of a struct with methods
	fieldsExplain  = 12 // above: a paragraph over the struct says how they belong together
	sentencesLeast = 2  // of that paragraph
)

// fields bounds structs with behaviour. Structs without methods are records (configurations, snapshots, messages) and may be
// as long as what they record.
func fields(t *tree) (bad []string) {
	for _, files := range t.packages() {
		methods := receivers(files)
		for _, f := range files {
			if f.test {
				continue
			}
			for _, d := range f.ast.Decls {
				bad = append(bad, fieldsOf(t, f, d, methods)...)
			}
		}
	}
	return bad
}

// receivers names the types of a package that have methods.
func receivers(files []*source) map[string]bool {
	with := make(map[string]bool)
	for _, f := range files {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil {
				with[receiver(fn.Recv.List[0].Type)] = true
			}
		}
	}
	return with
}

// receiver is the name of a receiver's type, without pointer and type parameters.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func fieldsOf(t *tree, f *source, d ast.Decl, methods map[string]bool) (bad []string) {
	g, ok := d.(*ast.GenDecl)
	if !ok {
		return nil
	}
	for _, spec := range g.Specs {
		ts, ok := spec.(*ast.TypeSpec)
		if !ok || !methods[ts.Name.Name] {
			continue
		}
		st, ok := ts.Type.(*ast.StructType)
		if !ok || record(ts.Name.Name) || path.Base(f.dir) == "config" {
			continue
		}
		doc := ts.Doc
		if doc == nil {
			doc = g.Doc
		}
		switch n := st.Fields.NumFields(); {
		case n > fieldsMost && !strings.Contains(doc.Text(), "groups of fields"):
			bad = append(bad, fmt.Sprintf("%s: %s has %d fields and methods; at most %d, so compose it of parts, or say above it what its groups of fields are",
				t.at(ts), ts.Name.Name, n, fieldsMost))
		case n > fieldsExplain && strings.Count(doc.Text(), ".") < sentencesLeast:
			bad = append(bad, fmt.Sprintf("%s: %s has %d fields; above %d a paragraph over it says how they belong together",
				t.at(ts), ts.Name.Name, n, fieldsExplain))
		}
	}
	return bad
}

// record reports that a type is one by its name: configurations and snapshots have checks and renderers, and are as long as
// what they hold.
func record(name string) bool {
	for _, end := range []string{"Config", "Options", "Snapshot", "Status", "Spec", "Plan", "Report", "Result", "Row"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}
