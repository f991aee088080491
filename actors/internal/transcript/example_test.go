package transcript_test

import (
	"fmt"

	"sluice/actors/internal/transcript"
)

// A calculator with one command.
func Example() {
	const text = `# Numbers are added.
add
n=2
n=40
----
42
`
	commands, err := transcript.Parse("add.txt", text)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range commands {
		sum := 0
		for _, line := range c.Input {
			sum += line.Number("n", 0)
		}
		fmt.Printf("%s: got %d, want %s", c.Name(), sum, c.Output)
		fmt.Println("errors:", c.Err())
	}
	fmt.Println("written as read:", transcript.Format(commands) == text)
	// Output:
	// add: got 42, want 42
	// errors: <nil>
	// written as read: true
}
