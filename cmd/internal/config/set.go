package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Setting is one configurable value.
type Setting struct {
	Name      string // flag and file key, lower case with hyphens; see Variable
	Group     string // heading of the help text that lists it
	Help      string // one or two clauses that start with a verb; the default is added
	Value     Value  // the field
	Reload    bool   // can change while the server runs
	NotInFile bool   // flag and environment only, never in a file
	Former    string // name before it was renamed; using it is an error that names the new one
}

// Variable returns the name of the environment variable: SLUICE_ and the setting's name in upper
// case.
func (s *Setting) Variable() string { return variable(s.Name) }

func variable(name string) string {
	return "SLUICE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// UsageError is a mistake in the flags, environment or file.
type UsageError struct{ Text string }

// Error returns the place of the mistake, the value, and what to write instead.
func (e *UsageError) Error() string { return e.Text }

// Usagef returns a UsageError.
func Usagef(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// ErrHelp is returned by Load when a flag asks for the help text.
var ErrHelp = errors.New("config: help requested")

// Set is the table of settings of one command. It belongs to one goroutine.
type Set struct {
	Settings []Setting

	file     string // name of the setting that names the file, "" if the command reads none
	regular  bool   // the file must be a regular one
	cut      bool   // the last line of the file has no line end
	origins  map[string]string
	defaults map[string]string
}

// NewSet returns a set. The present values of the fields are the defaults. file names the setting
// whose value is the path of the YAML file, "" for a command without a file.
func NewSet(file string, settings ...Setting) *Set {
	s := &Set{Settings: settings, file: file, defaults: make(map[string]string)}
	for i := range settings {
		s.defaults[settings[i].Name] = settings[i].Value.String()
	}
	s.resetOrigins()
	return s
}

func (s *Set) resetOrigins() {
	s.origins = make(map[string]string)
	for i := range s.Settings {
		s.origins[s.Settings[i].Name] = "default"
	}
}

func (s *Set) find(name string) *Setting {
	for i := range s.Settings {
		if s.Settings[i].Name == name {
			return &s.Settings[i]
		}
	}
	return nil
}

// renamed returns the setting that once had a name, nil if none had.
func (s *Set) renamed(name string) *Setting {
	for i := range s.Settings {
		if name != "" && s.Settings[i].Former == name {
			return &s.Settings[i]
		}
	}
	return nil
}

func (s *Set) names() []string {
	var names []string
	for i := range s.Settings {
		names = append(names, s.Settings[i].Name)
	}
	return names
}

// Origin returns the origin of a setting's value: "default", "--name", "SLUICE_NAME" or
// "file:line".
func (s *Set) Origin(name string) string { return s.origins[name] }

// given is a value and its origin.
type given struct{ name, text, origin string }

// Load sets the fields from flags, environment (in the form of os.Environ) and the file that these
// name. It returns the arguments that are not flags. An error is ErrHelp or a *UsageError.
func (s *Set) Load(args, environ []string) (rest []string, err error) {
	flags, rest, err := s.parseFlags(args)
	if err != nil {
		return nil, err
	}
	variables, err := s.parseEnvironment(environ)
	if err != nil {
		return nil, err
	}
	var file []given
	if s.file != "" {
		path := s.defaults[s.file]
		for _, g := range slices.Concat(variables, flags) {
			if g.name == s.file {
				path = g.text
			}
		}
		if path != "" {
			if file, err = s.readFile(path); err != nil {
				return nil, err
			}
		}
	}
	return rest, s.apply(slices.Concat(file, variables, flags))
}

// apply sets the fields, all or none. A later value replaces an earlier one.
func (s *Set) apply(values []given) error {
	before := make(map[string]string)
	for i := range s.Settings {
		before[s.Settings[i].Name] = s.Settings[i].Value.String()
	}
	restore := func(to map[string]string) {
		for i := range s.Settings {
			// It cannot fail: the text is a former value of the field, or its default.
			_ = s.Settings[i].Value.Set(to[s.Settings[i].Name])
		}
	}
	restore(s.defaults) // a second Load starts from the defaults too
	origins := s.origins
	s.resetOrigins()
	for _, g := range values {
		if err := s.find(g.name).Value.Set(g.text); err != nil {
			restore(before)
			s.origins = origins
			return Usagef("%s is %q: %v", g.place(), g.text, err)
		}
		s.origins[g.name] = g.origin
	}
	return nil
}

// place returns the origin and, for a line of a file, the setting.
func (g given) place() string {
	if strings.HasPrefix(g.origin, "--") || strings.HasPrefix(g.origin, "SLUICE_") {
		return g.origin
	}
	return g.origin + ": " + g.name
}

// parseFlags reads flags before, between and after the arguments. A negative number is an argument,
// and so is everything after "--".
func (s *Set) parseFlags(args []string) (values []given, rest []string, err error) {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	for i := range s.Settings {
		name := s.Settings[i].Name
		_, isBool := s.Settings[i].Value.(boolean)
		flags.Var(&collect{isBool, func(text string) {
			values = append(values,
				given{name, text, "--" + name})
		}}, name, "")
	}
	for len(args) > 0 {
		if a := args[0]; len(a) > 1 && a[0] == '-' && (a[1] >= '0' && a[1] <= '9') || a == "-" ||
			!strings.HasPrefix(a, "-") {
			rest, args = append(rest, a), args[1:]
			continue
		}
		if args[0] == "--" {
			return values, append(rest, args[1:]...), nil
		}
		one, tail := s.split(args)
		if err := flags.Parse(one); err != nil {
			return nil, nil, s.flagError(args[0], err)
		}
		args = tail
	}
	return values, rest, nil
}

// split cuts args after its first flag, and after that flag's value if the value is the next
// argument.
func (s *Set) split(args []string) (one, tail []string) {
	name := strings.TrimLeft(args[0], "-")
	n := 1
	if set := s.find(name); set != nil && len(args) > 1 {
		if _, isBool := set.Value.(boolean); !isBool {
			n = 2
		}
	}
	return args[:n], args[n:]
}

// collect is the value of every flag. It only records the text, because values are set in order of
// precedence.
type collect struct {
	isBool bool
	note   func(string)
}

func (c *collect) String() string        { return "" }
func (c *collect) Set(text string) error { c.note(text); return nil }
func (c *collect) IsBoolFlag() bool      { return c.isBool }

func (s *Set) flagError(arg string, err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return ErrHelp
	}
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	if set := s.find(name); set != nil {
		return Usagef("--%s needs a value: write --%s %s", name, name, set.Value.Form())
	}
	if set := s.renamed(name); set != nil {
		return Usagef("the flag --%s is now --%s", name, set.Name)
	}
	var flags []string
	for _, n := range s.names() {
		flags = append(flags, "--"+n)
	}
	return Usagef("unknown flag %s; %s--help lists the flags", arg, DidYouMean("--"+name, flags))
}

// parseEnvironment reads the variables that begin with SLUICE_. A name that is nearly a setting's
// is an error. Other unknown names are ignored, because they may belong to another command or to
// Kubernetes, which sets SLUICE_SERVICE_HOST in every container if a service is called sluice.
func (s *Set) parseEnvironment(environ []string) (values []given, err error) {
	var known []string
	former := make(map[string]string) // variable of a former name: the present one
	for i := range s.Settings {
		known = append(known, s.Settings[i].Variable())
		if name := s.Settings[i].Former; name != "" {
			former[variable(name)] = known[i]
		}
	}
	for _, e := range environ {
		name, text, _ := strings.Cut(e, "=")
		i := slices.Index(known, name)
		switch {
		case i >= 0:
			values = append(values, given{s.Settings[i].Name, text, name})
		case former[name] != "":
			return nil, Usagef("the variable %s is now %s", name, former[name])
		case strings.HasPrefix(name, "SLUICE_"):
			if best, edits := Nearest(name, known); 3*edits <= len(name)-len("SLUICE_") {
				return nil, Usagef("unknown variable %s in the environment; did you mean %s?",
					name, best)
			}
		}
	}
	return values, nil
}

// readFile reads the configuration file.
func (s *Set) readFile(path string) ([]given, error) {
	if s.regular {
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
			return nil, Usagef("cannot read the configuration file %s again: it is not a regular file (%s)",
				path, info.Mode())
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, Usagef("cannot read the configuration file: %v", err)
	}
	s.cut = len(text) > 0 && text[len(text)-1] != '\n'
	return s.parseFile(path, text)
}
