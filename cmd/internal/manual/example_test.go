package manual_test

import (
	"fmt"
	"strings"

	"sluice/cmd/internal/manual"
)

// The help text of a command becomes lines of completions.
func Example() {
	c := manual.Command{Name: "serve", About: "run the server", Help: `usage: bakery serve [flags]

Runs the server.

Flags
  --oven gas|wood               bake with this fuel; wood takes
                                longer [default gas]
  --recipes FILE                read the recipes from this file [default none]
`}
	c.Parse()
	text, _ := manual.Complete("fish", "bakery", []manual.Command{c})
	for line := range strings.Lines(text) {
		if strings.Contains(line, " -l ") {
			fmt.Print(line)
		}
	}
	// Output:
	// complete -c bakery -n '__fish_seen_subcommand_from serve' -l oven -x -a 'gas wood' -d 'bake with this fuel'
	// complete -c bakery -n '__fish_seen_subcommand_from serve' -l recipes -r -F -d 'read the recipes from this file'
}
