package config

import (
	"fmt"
	"io"
	"strings"
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

// Print writes the settings as a file that Load reads, each with the origin of its value.
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
		line := set.Name + ": " + quoteYAML(set.Value.String())
		fmt.Fprintf(&b, "%-48s # %s\n", line, s.origins[set.Name])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// quoteYAML quotes a text that YAML would not read back as the same string.
func quoteYAML(text string) string {
	plain := text != "" && !strings.ContainsAny(text, "\"'#&*!|>%@`{}[]\n\t\\") && !strings.Contains(text, ": ") &&
		strings.Trim(text, " -:?,=<>.") == text
	if plain {
		return text
	}
	return fmt.Sprintf("%q", text)
}
