package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"strconv"

	"sluice/actors/node"
	"sluice/actors/node/cluster"
	"sluice/actors/node/inspect"
	"sluice/cmd/internal/config"
	"sluice/cmd/orderbook"
)

const journalHead = `usage: sluice journal [flags] list|verify|skip N

  list      print the events of a data directory, one per line: number, time, connection (start of the
            server and number in it), who it is from, kind, and what it says
  verify    read everything, check every file and every event, and print a summary
  skip N    leave out event N, on which the program panics at every start, from the next start on

list and verify only read. While a server runs, they see what was complete before, and verify says so.
verify checks all that a start checks, and does not apply the events. Requests are not judged: that is
done by the server when it takes them. They are described as those of the order book; package
actors/node/inspect does the same for another application.

In the directory of a member of a cluster, list and verify show the events that were not replaced, with
the term of their leader; those that this node does not know to be committed are marked. skip refuses it.

skip is for the case that no program applies the event. The server must be stopped. The event stays in
the journal, and the next start journals that it was left out. What it caused in an earlier run is
undone, although its client may have received a response. Only an event after the newest snapshot can
be left out. Keep a copy of the data directory: a skip cannot be taken back.

Exit codes: 0 done, 1 failed or damaged, 64 usage error.`

// readJournal is `sluice journal`.
func readJournal(e *env, args []string) error {
	dir, asJSON := "./sluice-data", false
	from, to := 1, 0
	set := config.NewSet("",
		config.Setting{Name: "data-dir", Group: "Flags",
			Value: config.Text(&dir, "DIR"), Help: "read the data directory of a server"},
		config.Setting{Name: "from", Group: "Flags",
			Value: config.Count(&from, 1, math.MaxInt, false), Help: "list events from number N"},
		config.Setting{Name: "to", Group: "Flags",
			Value: config.Count(&to, 0, math.MaxInt, false),
			Help:  "list events up to number N; 0 for the last"},
		config.Setting{Name: "json", Group: "Flags",
			Value: config.Bool(&asJSON), Help: "print one JSON object per line"},
	)
	rest, done, err := load(e, set, args, journalHead)
	if done || err != nil {
		return err
	}
	e.json = asJSON
	if len(rest) == 2 && rest[0] == "skip" {
		return skip(e, dir, rest[1])
	}
	switch verbs := []string{"list", "verify", "skip"}; {
	case len(rest) == 0 || len(rest) == 1 && rest[0] == "skip":
		return config.Usagef("write sluice journal list, sluice journal verify or sluice journal skip N")
	case !slices.Contains(verbs, rest[0]):
		return config.Usagef("unknown journal command %q; %sthe commands are list, verify and skip N", rest[0],
			config.DidYouMean(rest[0], verbs))
	case len(rest) > 1:
		return config.Usagef("journal %s: unexpected argument %q; name a directory with --data-dir", rest[0],
			rest[len(rest)-1])
	}
	book, err := orderbook.New(orderbook.Config{})
	if err != nil {
		return err
	}
	j, err := inspect.Open(dir, book)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; name the data directory of a server with --data-dir", err)
	}
	if err != nil {
		return err
	}
	if rest[0] == "list" {
		out := &counted{w: e.stdout}
		err := j.List(out, inspect.Options{From: uint64(from), To: uint64(to), JSON: asJSON})
		if err == nil && out.bytes == 0 {
			fmt.Fprintln(e.stderr, "no events in that range")
		}
		return err
	}
	if j.Member() != nil { // the rest of a member's directory
		if _, err := cluster.ReadMembership(dir); err != nil {
			return err
		}
	}
	summary, err := j.Verify()
	switch {
	case err != nil:
		return err
	case asJSON:
		return json.NewEncoder(e.stdout).Encode(summary)
	}
	_, err = fmt.Fprint(e.stdout, summary)
	return err
}

// counted counts what is written.
type counted struct {
	w     io.Writer
	bytes int
}

func (c *counted) Write(text []byte) (int, error) {
	n, err := c.w.Write(text)
	c.bytes += n
	return n, err
}

// skip is `sluice journal skip`.
func skip(e *env, dir, event string) error {
	seq, err := strconv.ParseUint(event, 10, 64)
	if err != nil || seq == 0 {
		return config.Usagef("skip %s: N is the number of an event, as sluice journal list prints it", event)
	}
	if err := node.Skip(dir, seq); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "the next start leaves out event %d and journals that\n", seq)
	return nil
}
