package transcript

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// separator stands between a command and its output.
const separator = "----"

// Command is one command of a transcript.
type Command struct {
	*Line
	Input  []*Line
	Output string // as the file has it, each line ended

	above []string // comments and empty lines before the command
}

// Line is a line of words. Each word is asked for by Has, Text, Number or Duration, or is an error.
type Line struct {
	text  string
	place string // file and line number
	words []string
	used  []bool
	err   error
}

// Name is the first word.
func (l *Line) Name() string {
	l.used[0] = true
	return l.words[0]
}

// Has reports whether a word stands in the line.
func (l *Line) Has(word string) bool {
	for i, w := range l.words {
		if w == word {
			l.used[i] = true
			return true
		}
	}
	return false
}

// Text is the value of key=value, or empty.
func (l *Line) Text(key string) string {
	for i, w := range l.words {
		if value, ok := strings.CutPrefix(w, key+"="); ok {
			l.used[i] = true
			return value
		}
	}
	return ""
}

// Number is the value of key=value, or absent.
func (l *Line) Number(key string, absent int) int {
	text := l.Text(key)
	if text == "" {
		return absent
	}
	n, err := strconv.Atoi(text)
	l.note(err)
	return n
}

// Duration is the value of key=value, or 0.
func (l *Line) Duration(key string) time.Duration {
	text := l.Text(key)
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	l.note(err)
	return d
}

func (l *Line) note(err error) {
	if l.err == nil && err != nil {
		l.err = fmt.Errorf("%s: %q: %w", l.place, l.text, err)
	}
}

// Err is what was wrong with the line's words, to be asked for after the command was carried out.
func (l *Line) Err() error {
	for i, used := range l.used {
		if !used {
			l.note(fmt.Errorf("word %q has no meaning here", l.words[i]))
		}
	}
	return l.err
}

// Err is the first error of the command and its input.
func (c *Command) Err() error {
	if err := c.Line.Err(); err != nil {
		return err
	}
	for _, l := range c.Input {
		if err := l.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Parse reads a transcript. What stands behind the last command is lost, unless it is empty lines.
func Parse(file, text string) (commands []*Command, err error) {
	var above []string
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := 0; i < len(lines); {
		if blank(lines[i]) {
			above = append(above, lines[i])
			i++
			continue
		}
		c := &Command{above: above, Line: newLine(file, lines, i)}
		above = nil
		for i++; i < len(lines) && lines[i] != separator; i++ {
			if lines[i] == "" {
				break
			}
			c.Input = append(c.Input, newLine(file, lines, i))
		}
		if i == len(lines) || lines[i] != separator {
			return nil, fmt.Errorf("%s: command %q has no %s", c.place, c.text, separator)
		}
		for i++; i < len(lines) && lines[i] != ""; i++ {
			c.Output += lines[i] + "\n"
		}
		commands = append(commands, c)
	}
	return commands, nil
}

// blank reports whether a line is a comment or empty.
func blank(line string) bool { return line == "" || strings.HasPrefix(line, "#") }

func newLine(file string, lines []string, i int) *Line {
	words := strings.Fields(lines[i])
	return &Line{
		text: lines[i], place: fmt.Sprintf("%s:%d", file, i+1), words: words,
		used: make([]bool, len(words)),
	}
}

// Format is the text of a transcript, which Parse reads.
func Format(commands []*Command) string {
	var b strings.Builder
	for _, c := range commands {
		for _, line := range c.above {
			b.WriteString(line + "\n")
		}
		b.WriteString(c.text + "\n")
		for _, l := range c.Input {
			b.WriteString(l.text + "\n")
		}
		b.WriteString(separator + "\n" + c.Output)
	}
	return b.String()
}

// Run runs each file that matches pattern as a subtest. start makes the function that carries out
// the commands of one file and returns what they print.
func Run(t *testing.T, pattern string, start func(t *testing.T) func(c *Command) string) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no file matches %s: %v", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			commands, err := Parse(file, string(text))
			if err != nil {
				t.Fatal(err)
			}
			runFile(t, commands, start(t))
			if rewriting() {
				if err := os.WriteFile(file, []byte(Format(commands)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// rewriting reports whether outputs are written into the files instead of compared.
func rewriting() bool { return os.Getenv("SLUICE_REWRITE") == "1" }

func runFile(t *testing.T, commands []*Command, carryOut func(c *Command) string) {
	for _, c := range commands {
		got := carryOut(c)
		if err := c.Err(); err != nil {
			t.Fatal(err)
		}
		if got != "" && !strings.HasSuffix(got, "\n") {
			got += "\n"
		}
		if strings.HasPrefix(got, "\n") || strings.Contains(got, "\n\n") {
			t.Fatalf("%s: %s prints an empty line, which would end its output:\n%s", c.place,
				c.text, got)
		}
		if rewriting() {
			c.Output = got
		} else if err := c.check(got); err != nil {
			t.Error(err)
		}
	}
}

// check compares what the command printed with its output.
func (c *Command) check(got string) error {
	if got == c.Output {
		return nil
	}
	return fmt.Errorf("%s: %s\n--- printed\n%s--- in the file\n%s", c.place, c.text, got, c.Output)
}
