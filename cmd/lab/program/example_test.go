package program_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"sluice/cmd/lab/program"
	"sluice/transport"
)

// The program has the engines of the test that had it built.
func Example() {
	dir, err := os.MkdirTemp("", "sluice-program-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path, err := program.Build(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := exec.Command(path, "version").CombinedOutput()
	want := "engines compiled in: " + strings.Join(transport.Engines(), ", ")
	fmt.Println(err, strings.Contains(string(out), want))
	// Output: <nil> true
}
