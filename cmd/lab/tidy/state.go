package tidy

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// state forbids package variables that can change. Allowed are error sentinels, interface
// assertions, embedded files, and tables that are never assigned to.
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

// constant reports whether a value would be a constant if the language allowed that.
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

// noteChanges records every name that is assigned to, incremented or deleted from, or whose address
// is taken. It compares names only, so a local variable of the same name counts.
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
