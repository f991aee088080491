package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"sluice/actors/node/observe"
	"sluice/cmd/internal/config"
)

// Exit codes of the program.
const (
	exitOK      = 0  // the command succeeded
	exitFailure = 1  // the command failed; a restart may help
	exitUsage   = 64 // usage error: flag, environment, file; a restart does not help. 2 is a crash of Go
)

// command is a verb of the program.
type command struct {
	name  string
	about string // line in the list of commands
	run   func(e *env, args []string) error
}

// commands lists all verbs in the order of the help text. A new verb needs a file with its
// function, and a line here.
func commands() []command {
	return []command{
		{"serve", "run the server: listen, sequence, journal, respond", serve},
		{"client", "trade by hand, watch responses, make keys", tradeByHand},
		{"admin", "inspect or control a running server: status, connections, policy, kick, drain",
			administer},
		{"keys", "list, add or revoke the keys that may connect, and have the server take them", manageKeys},
		{"top", "watch a running server in this terminal", watch},
		{"demo", "run server and clients, kill -9 the server, and verify every response", demonstrate},
		{"cluster", "make a member of a cluster, or operate a running one: cluster init|status|add|...", clusterCommand},
		{"config", "check or print a configuration: config check|print", configure},
		{"journal", "list or verify the events of a data directory, or leave one out: journal list|verify|skip", readJournal},
		{"audit", "compare what clients recorded with the journals of all nodes", auditHistories},
		{"backup", "take a verified copy of the data directory of a running or stopped server", takeBackup},
		{"restore", "make a data directory from a backup", restore},
		{"bench", "measure the pipeline, and a plain Go server beside it", benchmark},
		{"tune", "find shards, placement and idle strategy for your load on this machine", tuneUp},
		{"completion", "print completions for bash, zsh or fish", complete},
		{"man", "write the manual pages into a directory", writeManual},
		{"version", "print version, commit, kernel and engines", version},
	}
}

// env has the parts of the process that a command uses.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	json           bool // print the error on stdout, too, as a JSON object
}

func main() {
	os.Exit(run(&env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}, os.Args[1:]))
}

// run runs the command and turns its error into a line and an exit code.
func run(e *env, args []string) int {
	err := dispatch(e, args)
	var shown *observe.Error
	if err != nil && !(errors.As(err, &shown) && shown.Page) { // the page says what is wrong
		e.fault(err)
	}
	if c, ok := e.stderr.(interface{ close() }); ok { // a server's console
		c.close()
	}
	var usage *config.UsageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	}
	return exitFailure
}

// fault prints the error that ends the command.
func (e *env) fault(err error) {
	if c, ok := e.stderr.(interface{ fault(error) }); ok {
		c.fault(err)
		return
	}
	fmt.Fprintln(e.stderr, "sluice:", err)
	if e.json {
		out := json.NewEncoder(e.stdout)
		out.SetEscapeHTML(false)
		_ = out.Encode(map[string]string{"error": err.Error()}) // the exit code tells as well
	}
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
	return config.Usagef("unknown command %q; %sthe commands are %s", name,
		config.DidYouMean(name, names), strings.Join(names, ", "))
}

// about and overviewFoot are what the overview and the manual page say of the program.
const (
	about        = "an order book behind a durable response pipeline"
	overviewFoot = "`sluice COMMAND --help` lists the flags of a command. Each flag --some-name can also be set as\n" +
		"SLUICE_SOME_NAME in the environment.\n\nExit codes: 0 done, 1 failed, 64 usage error."
)

func overview(w io.Writer) {
	fmt.Fprintf(w, "sluice: %s\n\nusage: sluice COMMAND [flags]\n\n", about)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.about)
	}
	fmt.Fprintf(w, "\n%s\n", overviewFoot)
}

// load reads the settings of a command. done means that it printed the help text.
func load(e *env, set *config.Set, args []string, head string) (rest []string, done bool, err error) {
	rest, err = set.Load(args, e.environ)
	if errors.Is(err, config.ErrHelp) {
		fmt.Fprintln(e.stdout, head)
		return nil, true, set.Usage(e.stdout)
	}
	return rest, false, err
}

// noArguments rejects arguments of a command that has none.
func noArguments(rest []string, command string) error {
	if len(rest) > 0 {
		return config.Usagef("%s takes no arguments, but got %q; flags begin with --", command, rest[0])
	}
	return nil
}
