package auditfile_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"sluice/telemetry/auditfile"
)

// A program reports who did what.
func Example() {
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "audit.jsonl")
	f, err := auditfile.Open(path, slog.Default())
	if err != nil {
		panic(err)
	}
	f.Logger().Info("login", "name", "desk4", "role", "trader")
	if err := f.Close(context.Background()); err != nil {
		panic(err)
	}
	text, err := os.ReadFile(path)
	_, behind, _ := strings.Cut(string(text), `Z",`) // the time
	fmt.Println(behind, err)
	// Output:
	// "what":"login","name":"desk4","role":"trader"}
	//  <nil>
}
