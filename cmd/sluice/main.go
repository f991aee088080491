package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"sluice/cmd/internal/config"
)

// Exit codes of the program.
const (
	exitOK      = 0 // an orderly end, the command did what it was asked
	exitFailure = 1 // it could not
	exitUsage   = 2 // it was asked wrongly: flag, environment, configuration file
)

// command is a verb of the program.
type command struct {
	name  string
	about string // one line in the list of commands
	run   func(e *env, args []string) error
}

// commands lists all verbs in the order of the help text. A new one is a file with its function, and a line here.
func commands() []command {
	return []command{
		{"serve", "run the server: listen, sequence, journal, answer", serve},
		{"client", "trade by hand, watch answers, make keys", trade},
		{"admin", "ask a running server, or steer it: status, connections, policy, kick, drain", administer},
		{"top", "watch a running server in this terminal", watch},
		{"demo", "server, clients, kill -9 in the middle, and a table", demonstrate},
		{"config", "check a configuration, or print it: config check|print", configure},
		{"journal", "list or verify the events of a data directory: journal list|verify", inspect},
		{"bench", "measure the pipeline, and a plain Go server beside it", benchmark},
		{"tune", "find shards, placement and idle strategy for your load on this machine", tuneUp},
		{"version", "print version, kernel and engines", version},
	}
}

// env is what a command may use of the process.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
}

func main() {
	os.Exit(run(&env{os.Stdin, os.Stdout, os.Stderr, os.Environ()}, os.Args[1:]))
}

// run finds the command, runs it and turns its error into a line and an exit code.
func run(e *env, args []string) int {
	err := dispatch(e, args)
	var usage *config.UsageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintln(e.stderr, "sluice:", err)
		return exitUsage
	}
	fmt.Fprintln(e.stderr, "sluice:", err)
	return exitFailure
}

func dispatch(e *env, args []string) error {
	if len(args) == 0 {
		overview(e.stderr)
		return config.Usagef("name a command")
	}
	name, all := args[0], commands()
	if slices.Contains([]string{"help", "--help", "-h", "-help"}, name) {
		if len(args) > 1 && name == "help" {
			return dispatch(e, []string{args[1], "--help"})
		}
		overview(e.stdout)
		return nil
	}
	if name == "--version" {
		name = "version"
	}
	var names []string
	for _, c := range all {
		if c.name == name {
			return c.run(e, args[1:])
		}
		names = append(names, c.name)
	}
	return config.Usagef("unknown command %q; %sthe commands are %s", name, config.DidYouMean(name, names), strings.Join(names, ", "))
}

func overview(w io.Writer) {
	fmt.Fprint(w, "sluice: an order book behind a durable response pipeline\n\nusage: sluice COMMAND [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.about)
	}
	fmt.Fprint(w, "\n`sluice COMMAND --help` lists the flags of a command. Each flag --some-name can also be given as SLUICE_SOME_NAME\n"+
		"in the environment. Exit codes: 0 done, 1 failed, 2 asked wrongly.\n")
}

// load reads the settings of a command. done means that a help text was asked for and written.
func load(e *env, set *config.Set, args []string, head string) (rest []string, done bool, err error) {
	rest, err = set.Load(args, e.environ)
	if errors.Is(err, config.ErrHelp) {
		fmt.Fprintln(e.stdout, head)
		return nil, true, set.Usage(e.stdout)
	}
	return rest, false, err
}

// noArguments refuses what a command does not take.
func noArguments(rest []string, command string) error {
	if len(rest) > 0 {
		return config.Usagef("%s takes no arguments, and %q is one; flags begin with --", command, rest[0])
	}
	return nil
}
