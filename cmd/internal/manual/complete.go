package manual

import (
	"fmt"
	"strings"
)

// Shells lists the shells that Complete knows.
func Shells() []string { return []string{"bash", "zsh", "fish"} }

// Complete returns the completions of a program for a shell; false for an unknown one. The commands
// are parsed.
func Complete(shell, program string, all []Command) (text string, ok bool) {
	switch shell {
	case "bash":
		return bash(program, all), true
	case "zsh":
		return zsh(program, all), true
	case "fish":
		return fish(program, all), true
	}
	return "", false
}

// tops are the commands that do not belong to another one.
func tops(all []Command) (names []string) {
	for _, c := range all {
		if !strings.Contains(c.Name, " ") {
			names = append(names, c.Name)
		}
	}
	return names
}

// candidates are the words and flags of a command.
func (c *Command) candidates() string {
	var list []string
	for _, w := range c.words {
		list = append(list, w.name)
	}
	for _, o := range c.flags {
		list = append(list, "--"+o.name)
	}
	return strings.Join(list, " ")
}

// bash finds the longest command that the line begins with, then the values of the flag before the
// cursor, else words and flags, else files.
func bash(program string, all []Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# completions of %[1]s for bash; made by: %[1]s completion bash
_%[1]s() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} list="" command=${COMP_WORDS[1]}
	if ((COMP_CWORD == 1)); then
		COMPREPLY=($(compgen -W "%[2]s" -- "$cur"))
		return
	fi
	if ((COMP_CWORD > 2)); then
		case "$command ${COMP_WORDS[2]}" in
		%[3]s) command="$command ${COMP_WORDS[2]}" ;;
		esac
	fi
	case "$command $prev" in
`, program, strings.Join(tops(all), " "), nested(all))
	for _, c := range all {
		var others []string // flags with a value that is not one of a list
		for _, o := range c.flags {
			switch flag := fmt.Sprintf("%q", c.Name+" --"+o.name); {
			case o.values != nil:
				fmt.Fprintf(&b, "\t%s) list=%q ;;\n", flag, strings.Join(o.values, " "))
			case o.form != "":
				others = append(others, flag)
			}
		}
		if others != nil {
			fmt.Fprintf(&b, "\t%s) list=- ;;\n", strings.Join(others, " | "))
		}
	}
	b.WriteString("\tesac\n\tif [[ -z $list ]]; then\n\t\tcase $command in\n")
	for _, c := range all {
		fmt.Fprintf(&b, "\t\t%q) list=%q ;;\n", c.Name, c.candidates())
	}
	fmt.Fprintf(&b, `		esac
	fi
	COMPREPLY=($(compgen -W "$list" -- "$cur"))
	if [[ ${#COMPREPLY[@]} == 0 || $list == - ]]; then
		COMPREPLY=($(compgen -f -- "$cur"))
	fi
}
complete -o filenames -F _%[1]s %[1]s
`, program)
	return b.String()
}

// nested is a pattern of the commands that belong to another one.
func nested(all []Command) string {
	var list []string
	for _, c := range all {
		if strings.Contains(c.Name, " ") {
			list = append(list, fmt.Sprintf("%q", c.Name))
		}
	}
	if list == nil {
		return `""`
	}
	return strings.Join(list, "|")
}

// zsh has a function with an _arguments for each command.
func zsh(program string, all []Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, `#compdef %[1]s
# completions of %[1]s for zsh; made by: %[1]s completion zsh
_%[1]s() {
	local -a list options
	local command=$words[2]
	if ((CURRENT == 2)); then
		list=(
`, program)
	for _, c := range all {
		if !strings.Contains(c.Name, " ") {
			fmt.Fprintf(&b, "\t\t\t%s\n", quote(c.Name+":"+c.About))
		}
	}
	fmt.Fprintf(&b, `		)
		_describe command list
		return
	fi
	if ((CURRENT > 3)); then
		case "$command $words[3]" in
		%s) command="$command $words[3]" ;;
		esac
	fi
	case $command in
`, nested(all))
	for _, c := range all {
		fmt.Fprintf(&b, "\t%q)\n\t\tlist=(", c.Name)
		for _, w := range c.words {
			fmt.Fprintf(&b, " %s", quote(w.name+":"+w.about))
		}
		b.WriteString(")\n\t\toptions=(\n")
		for _, o := range c.flags {
			fmt.Fprintf(&b, "\t\t\t%s\n", quote(o.zsh()))
		}
		b.WriteString("\t\t) ;;\n")
	}
	fmt.Fprintf(&b, `	esac
	if [[ $words[CURRENT] != -* && $words[CURRENT-1] != --* && $#list > 0 ]]; then
		_describe word list
		return
	fi
	_arguments $options '*:file:_files'
}
if [[ $funcstack[1] == _%[1]s ]]; then
	_%[1]s "$@"
else
	compdef _%[1]s %[1]s
fi
`, program)
	return b.String()
}

// zsh is the specification of a flag for _arguments.
func (o *option) zsh() string {
	text := strings.NewReplacer("[", "(", "]", ")", ":", "\\:").Replace(o.about())
	spec := "--" + o.name + "[" + text + "]"
	switch {
	case o.form == "":
		return spec
	case o.values != nil:
		return spec + ":value:(" + strings.Join(o.values, " ") + ")"
	case o.file:
		return spec + ":path:_files"
	}
	return spec + ":" + strings.ReplaceAll(o.form, ":", "\\:") + ":"
}

// fish has a line for each command, word and flag.
func fish(program string, all []Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# completions of %[1]s for fish; made by: %[1]s completion fish\n"+
		"complete -c %[1]s -f\n", program)
	for _, c := range all {
		first, second, inner := strings.Cut(c.Name, " ")
		when := "__fish_seen_subcommand_from " + first
		if inner {
			when += "; and __fish_seen_subcommand_from " + second
		} else {
			fmt.Fprintf(&b, "complete -c %s -n __fish_use_subcommand -a %s -d %s\n", program, first, quote(c.About))
		}
		for _, w := range c.words {
			fmt.Fprintf(&b, "complete -c %s -n %s -a %s -d %s\n", program, quote(when), w.name, quote(w.about))
		}
		for _, o := range c.flags {
			fmt.Fprintf(&b, "complete -c %s -n %s -l %s", program, quote(when), o.name)
			switch {
			case o.values != nil:
				fmt.Fprintf(&b, " -x -a %s", quote(strings.Join(o.values, " ")))
			case o.file:
				b.WriteString(" -r -F")
			case o.form != "":
				b.WriteString(" -x")
			}
			fmt.Fprintf(&b, " -d %s\n", quote(o.about()))
		}
	}
	return b.String()
}

// quote quotes a text for all three shells. fish knows \' within quotes, the others do not, so an
// apostrophe becomes a typographic one.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "’") + "'" }
