package manual

import (
	"fmt"
	"strings"
)

// Page returns the manual page of a command in section 1, as roff. The command is parsed.
func Page(program, version string, c Command) string {
	name := program + "-" + strings.ReplaceAll(c.Name, " ", "-")
	var b strings.Builder
	about := c.About
	if about == "" {
		about = "a command of " + program
	}
	head(&b, name, version, about)
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n.SH DESCRIPTION\n.nf\n%s\n.fi\n", escape(c.usage), lines(c.body))
	if len(c.flags) > 0 {
		b.WriteString(".SH OPTIONS\n")
	}
	for _, o := range c.flags {
		fmt.Fprintf(&b, ".TP\n\\fB%s\\fR", escape("--"+o.name))
		if o.form != "" {
			fmt.Fprintf(&b, " \\fI%s\\fR", escape(o.form))
		}
		fmt.Fprintf(&b, "\n%s\n", lines(o.help))
	}
	fmt.Fprintf(&b, ".SH SEE ALSO\n.BR %s (1)\n", escape(program))
	return b.String()
}

// Overview returns the manual page of the program, with all its commands. text is what it prints
// without a command; it may be empty.
func Overview(program, version, about, text string, all []Command) string {
	var b strings.Builder
	head(&b, program, version, about)
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n.I COMMAND\n[flags]\n.SH DESCRIPTION\n%s\n.SH COMMANDS\n",
		escape(program), lines(text))
	var pages []string
	for _, c := range all {
		page := program + "-" + strings.ReplaceAll(c.Name, " ", "-")
		pages = append(pages, fmt.Sprintf(".BR %s (1)", escape(page)))
		if c.About != "" {
			fmt.Fprintf(&b, ".TP\n\\fB%s\\fR\n%s\n", escape(c.Name), lines(c.About))
		}
	}
	fmt.Fprintf(&b, ".SH SEE ALSO\n%s\n", strings.Join(pages, ",\n"))
	return b.String()
}

func head(b *strings.Builder, name, version, about string) {
	fmt.Fprintf(b, ".TH %s 1 \"\" %q\n.SH NAME\n%s \\- %s\n", escape(strings.ToUpper(name)), version, escape(name),
		escape(about))
}

// lines escapes a text of several lines. A line that begins with a dot or an apostrophe would be a
// request of roff.
func lines(text string) string {
	all := strings.Split(text, "\n")
	for i, l := range all {
		l = escape(l)
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			l = `\&` + l
		}
		all[i] = l
	}
	return strings.Join(all, "\n")
}

func escape(text string) string { return strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text) }
