package manual

import (
	"regexp"
	"slices"
	"strings"
)

// Command is a command of the program, or of another command.
type Command struct {
	Name  string // with that of the command it belongs to: "cluster init"
	About string // one line; empty for a command of another one
	Help  string // what --help prints

	usage string // first line of Help, without "usage: "
	body  string // Help between usage and flags
	words []word // what may stand first behind the name
	flags []option
}

// word is a word that the help text explains.
type word struct{ name, about string }

// option is a flag.
type option struct {
	name, form string   // form of the value; empty for a switch
	help       string   // with the default
	values     []string // all values, if the form lists them
	file       bool     // the value is a path
}

var (
	heading  = regexp.MustCompile(`^[A-Z][A-Za-z ]*( \(.*\))?$`)
	flagLine = regexp.MustCompile(`^  --([a-z0-9-]+)(?: (\S+))?(?: {2,}(.*))?$`)
	wordLine = regexp.MustCompile(`^  ([a-z][a-z-]*)(?: .*?)?(?: {2,}(\S.*))$`)
)

// Parse reads the help text of a command.
func (c *Command) Parse() {
	c.words, c.flags = nil, nil
	first, rest, _ := strings.Cut(c.Help, "\n")
	c.usage = strings.TrimPrefix(first, "usage: ")
	lines := strings.Split(strings.Trim(rest, "\n"), "\n")
	begin := slices.IndexFunc(lines, func(l string) bool { return flagLine.MatchString(l) })
	if begin < 0 {
		begin = len(lines)
	} else if begin > 0 && heading.MatchString(lines[begin-1]) {
		begin--
	}
	c.body = strings.Trim(strings.Join(lines[:begin], "\n"), "\n")
	c.parseFlags(lines[begin:])
	if !strings.Contains(c.usage, "COMMAND") && !strings.Contains(c.usage, "REQUEST") && !strings.Contains(c.usage, "|") {
		return // the words in its text are explanations
	}
	for line := range strings.Lines(rest) {
		m := wordLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m != nil && !slices.ContainsFunc(c.words, func(w word) bool { return w.name == m[1] }) {
			c.words = append(c.words, word{m[1], m[2]})
		}
	}
}

// parseFlags reads the flags, with their headings and texts of several lines.
func (c *Command) parseFlags(lines []string) {
	for _, line := range lines {
		m := flagLine.FindStringSubmatch(line)
		if m == nil {
			if len(c.flags) > 0 && strings.HasPrefix(line, "    ") {
				last := &c.flags[len(c.flags)-1]
				last.help = strings.TrimSpace(last.help + " " + strings.TrimSpace(line))
			}
			continue
		}
		o := option{name: m[1], form: m[2], help: m[3]}
		if strings.Contains(o.form, "|") {
			o.values = slices.DeleteFunc(strings.Split(o.form, "|"), func(v string) bool { return strings.ToUpper(v) == v })
		}
		o.file = strings.HasPrefix(o.form, "FILE") || strings.HasPrefix(o.form, "DIR") || strings.HasPrefix(o.form, "PATH")
		c.flags = append(c.flags, o)
	}
}

// about is what a flag does, in a few words.
func (o *option) about() string {
	text, _, _ := strings.Cut(o.help, "; ")
	text, _, _ = strings.Cut(text, " [default")
	if len(text) > 70 {
		text = text[:strings.LastIndex(text[:70], " ")] + " ..."
	}
	return text
}
