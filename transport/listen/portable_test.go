package listen

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"strings"
	"testing"
)

// Programs with a server in them are built for other systems too, from server_other.go.
func TestServerHasTheSameMethodsElsewhere(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	here, elsewhere := make(map[string]bool), make(map[string]bool)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || !fn.Name.IsExported() {
				continue
			}
			if types.ExprString(fn.Recv.List[0].Type) != "*Server" {
				continue
			}
			if name == "server_other.go" {
				elsewhere[fn.Name.Name] = true
			} else {
				here[fn.Name.Name] = true
			}
		}
	}
	if len(here) < 5 {
		t.Fatalf("methods of Server: %v", here)
	}
	for name := range here {
		if !elsewhere[name] {
			t.Errorf("Server.%s is missing in server_other.go: `make cross` fails", name)
		}
	}
}
