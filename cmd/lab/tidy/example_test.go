package tidy_test

import (
	"fmt"
	"strings"
	"testing/fstest"

	"sluice/cmd/lab/tidy"
)

func Example() {
	tree := fstest.MapFS{"encode/frame.go": &fstest.MapFile{Data: []byte("package encode\n\nvar last int\n")}}
	complaints, err := tidy.Check(tree)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range complaints {
		if strings.HasPrefix(c, "state: ") {
			fmt.Println(c)
		}
	}
	// Output: state: encode/frame.go:3:5: package variable last is state: give it an owner
}
