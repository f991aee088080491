package transcript

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const sample = `# First.

one flag size=3 after=20ms
a=1
b
----
printed
twice

# Second.
two
----
`

func TestParseKeepsWordsInputAndOutput(t *testing.T) {
	commands, err := Parse("s.txt", sample)
	if err != nil {
		t.Fatal(err)
	}
	if len(commands) != 2 {
		t.Fatalf("%d commands, want 2", len(commands))
	}
	c := commands[0]
	if c.Name() != "one" || !c.Has("flag") || c.Has("other") || c.Number("size", 0) != 3 ||
		c.Duration("after") != 20*time.Millisecond || c.Number("none", 7) != 7 {
		t.Errorf("the words of %q are not read", c.text)
	}
	if len(c.Input) != 2 || c.Input[0].Text("a") != "1" || c.Input[1].Name() != "b" {
		t.Errorf("%d lines of input, want a=1 and b", len(c.Input))
	}
	if c.Output != "printed\ntwice\n" {
		t.Errorf("output %q", c.Output)
	}
	if err := c.Err(); err != nil {
		t.Error(err)
	}
	if got := Format(commands); got != sample {
		t.Errorf("written as\n%s", got)
	}
}

func TestErrNamesThePlaceAndTheWord(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"do it\n----\n", `s.txt:1: "do it": word "it" has no meaning here`},
		{"do\nx=1 y=2\n----\n", `s.txt:2: "x=1 y=2": word "x=1" has no meaning here`},
		{"do n=three\n----\n", `s.txt:1: "do n=three": strconv.Atoi`},
		{"do d=3\n----\n", `s.txt:1: "do d=3": time: missing unit`},
	} {
		commands, err := Parse("s.txt", c.text)
		if err != nil {
			t.Fatal(err)
		}
		command := commands[0]
		command.Name()
		command.Number("n", 0)
		command.Duration("d")
		if err := command.Err(); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q: error %v, want %s", c.text, err, c.want)
		}
	}
}

func TestParseRejectsACommandWithoutSeparator(t *testing.T) {
	for _, text := range []string{"do", "do\nx=1\n\n----\n", "do\n\ndo\n----\n"} {
		if _, err := Parse("s.txt", text); err == nil ||
			!strings.Contains(err.Error(), `s.txt:1: command "do" has no ----`) {
			t.Errorf("%q: error %v", text, err)
		}
	}
}

func TestCheckShowsBothOutputs(t *testing.T) {
	commands, err := Parse("s.txt", "do\n----\nthis\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := commands[0].check("this\n"); err != nil {
		t.Error(err)
	}
	want := "s.txt:1: do\n--- printed\nthat\n--- in the file\nthis\n"
	if err := commands[0].check("that\n"); err == nil || err.Error() != want {
		t.Errorf("error %v, want\n%s", err, want)
	}
}

func TestRunRewritesOutputsOnRequest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "count.txt")
	if err := os.WriteFile(file, []byte("# Counts.\nsay\n----\nold\n\nsay\n----\n2"),
		0o644); err != nil {
		t.Fatal(err)
	}
	said := ""
	count := func(*testing.T) func(c *Command) string {
		return func(c *Command) string {
			c.Name()
			said += "I"
			return said
		}
	}
	t.Setenv("SLUICE_REWRITE", "1")
	Run(t, file, count)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := "# Counts.\nsay\n----\nI\n\nsay\n----\nII\n"; string(text) != want {
		t.Errorf("rewritten as\n%s", text)
	}
	t.Setenv("SLUICE_REWRITE", "")
	said = ""
	Run(t, file, count) // agrees now
}
