package config

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Usage writes the help text: the settings by group.
func (s *Set) Usage(w io.Writer) error {
	const indent, width = 32, 100
	var b strings.Builder
	group := ""
	for i := range s.Settings {
		set := &s.Settings[i]
		if set.Group != group {
			group = set.Group
			fmt.Fprintf(&b, "\n%s\n", group)
		}
		left := fmt.Sprintf("  --%s %s", set.Name, set.Value.Form())
		if len(left) > indent-2 {
			fmt.Fprintf(&b, "%s\n", left)
			left = ""
		}
		line := fmt.Sprintf("%-*s", indent-1, left)
		for _, word := range append(strings.Fields(set.Help), s.notes(set)) {
			if len(line)+1+len(word) > width {
				fmt.Fprintf(&b, "%s\n", line)
				line = strings.Repeat(" ", indent-1)
			}
			line += " " + word
		}
		fmt.Fprintf(&b, "%s\n", line)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// notes returns the default of a setting, and whether it can be reloaded, for its help text.
func (s *Set) notes(set *Setting) string {
	text := s.defaults[set.Name]
	if _, isBool := set.Value.(boolean); isBool && text == "false" {
		text = "off"
	}
	if text == "" {
		text = "none"
	}
	text = "[default " + text
	if set.Reload {
		text += "; SIGHUP reloads"
	}
	return text + "]"
}

// Print writes the settings as a file that Load reads, each with the origin of its value. A value that
// no file can hold, because it is not UTF-8, is an error.
func (s *Set) Print(w io.Writer) error {
	var b strings.Builder
	group := ""
	for i := range s.Settings {
		set := &s.Settings[i]
		if set.NotInFile {
			continue
		}
		if set.Group != group {
			if group != "" {
				b.WriteByte('\n')
			}
			group = set.Group
			fmt.Fprintf(&b, "# %s\n", group)
		}
		text := set.Value.String()
		if !utf8.ValidString(text) {
			return Usagef("--%s is %q, which is not UTF-8 and cannot be written to a file; use another name",
				set.Name, text)
		}
		origin := strings.Map(func(r rune) rune { // a comment is one line
			if !unicode.IsPrint(r) {
				return '?'
			}
			return r
		}, s.origins[set.Name])
		fmt.Fprintf(&b, "%-48s # %s\n", set.Name+": "+quoteYAML(text), origin)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// quoteYAML quotes a text that YAML would not read back as the same string. The text is UTF-8.
func quoteYAML(text string) string {
	var doc yaml.Node
	if yaml.Unmarshal([]byte("name: "+text+" # origin"), &doc) == nil && len(doc.Content[0].Content) == 2 {
		value := doc.Content[0].Content[1]
		plain := value.Kind == yaml.ScalarNode && value.Style == 0 && value.Tag != "!!null"
		if plain && value.Value == text {
			return text
		}
	}
	return strconv.Quote(text) // YAML has all escapes of Go
}
