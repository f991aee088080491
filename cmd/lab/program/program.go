package program

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"

	"sluice/transport"
)

// Root is the main module as seen from a package of cmd/lab.
const Root = "../../.."

// Build builds the program into dir and returns its path.
func Build(dir string) (string, error) { return Command(dir, "sluice") }

// Command builds the program below cmd with that name.
func Command(dir, name string) (string, error) {
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return "", fmt.Errorf("program: %w", err)
	}
	args := []string{"build"}
	if slices.Contains(transport.Engines(), transport.ModeUring.String()) {
		args = append(args, "-tags", "giouring", "-ldflags=-checklinkname=0")
	}
	build := exec.Command("go", append(args, "-o", path, "./cmd/"+name)...)
	build.Dir = Root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("program: go build: %w\n%s", err, out)
	}
	return path, nil
}
