package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
	"time"

	"sluice/actors/node"
	"sluice/actors/node/cluster"
	"sluice/cmd/internal/config"
	"sluice/durability/journal"
)

const backupHead = `usage: sluice backup [flags] TARGET

Copies the data directory of a running or a stopped server to TARGET, which must not exist, and verifies
the copy. Every order that was acknowledged before the backup began is in it. The server goes on; nothing
is asked of it, and nothing in its directory is changed. TARGET gets its name once everything is on disk.
What an interrupted backup left is called TARGET.partial-NUMBER, and can be removed.

A backup is not served, but verified (sluice journal verify --data-dir TARGET), listed, and restored with
sluice restore. Run it as the user of the server. docs/backup.md has the procedure.

Exit codes: 0 done, 1 failed or damaged, 64 usage error.`

const restoreHead = `usage: sluice restore [flags] BACKUP

Makes a data directory from a backup that sluice backup took. --data-dir must not exist, or be empty. The
backup is verified before anything is written, and the new directory afterwards.

The directory gets an identity of its own, because the server from which the backup was taken may still
run: from the last event of the backup on the two are different servers. A server on it continues after
that event. docs/backup.md says what clients see.

Exit codes: 0 done, 1 failed or damaged, 64 usage error.`

// takeBackup is `sluice backup`.
func takeBackup(e *env, args []string) error {
	return transfer(e, args, backupHead, "copy the data directory of a server", "TARGET",
		func(ctx context.Context, dir, target string) (journal.Copied, string, error) {
			if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
				return journal.Copied{}, "", fmt.Errorf("%w; name the data directory of a server with --data-dir", err)
			}
			if is, err := cluster.IsMember(dir); is || err != nil {
				return journal.Copied{}, "", errors.Join(err, fmt.Errorf("%s is the data directory of a member of a "+
					"cluster: copy it with sluice cluster backup", dir))
			}
			c, err := node.Backup(ctx, dir, target)
			return c, fmt.Sprintf("backup of %s in %s", dir, target), err
		})
}

// restore is `sluice restore`.
func restore(e *env, args []string) error {
	return transfer(e, args, restoreHead, "make this data directory", "BACKUP",
		func(ctx context.Context, dir, backup string) (journal.Copied, string, error) {
			c, err := node.Restore(ctx, backup, dir)
			return c, fmt.Sprintf("restored %s to %s", backup, dir), err
		})
}

// transfer reads the settings of both commands, and prints what was copied. A signal ends the copying and
// removes what was made.
func transfer(e *env, args []string, head, help, name string,
	do func(ctx context.Context, dir, other string) (journal.Copied, string, error)) error {
	dir, asJSON := "./sluice-data", false
	set := config.NewSet("",
		config.Setting{Name: "data-dir", Group: "Flags", Value: config.Text(&dir, "DIR"), Help: help},
		config.Setting{Name: "json", Group: "Flags", Value: config.Bool(&asJSON), Help: "print one JSON object"},
	)
	rest, done, err := load(e, set, args, head)
	if done || err != nil {
		return err
	}
	e.json = asJSON
	if len(rest) != 1 || rest[0] == "" {
		return config.Usagef("name one directory: %s", name)
	}
	ctx, release := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer release()
	began := time.Now()
	c, what, err := do(ctx, dir, rest[0])
	if err != nil {
		return unfinishedCopy(ctx, err)
	}
	if asJSON {
		return json.NewEncoder(e.stdout).Encode(copied{c.Directory.String(), c.Log.String(), uint64(c.First),
			uint64(c.Last), uint64(c.Snapshot), c.Bytes, c.Taken.Format(time.RFC3339), c.Notes})
	}
	for _, note := range c.Notes {
		fmt.Fprintln(e.stderr, "sluice: note:", note)
	}
	events, snapshot := "none", "none"
	if c.Last > 0 {
		events = fmt.Sprintf("%d to %d", c.First, c.Last)
	}
	if c.Snapshot > 0 {
		snapshot = fmt.Sprintf("after event %d", c.Snapshot)
	}
	_, err = fmt.Fprintf(e.stdout, "%s, verified, in %s\n  last event  %d\n  events      %s\n  snapshot    %s\n"+
		"  bytes       %d\n  directory   %s\n  taken       %s\n", what, time.Since(began).Round(time.Millisecond),
		c.Last, events, snapshot, c.Bytes, c.Directory, c.Taken.Format(time.RFC3339))
	return err
}

// unfinishedCopy adds to the error of a copy what it was due to, or what to do.
func unfinishedCopy(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return errors.New("interrupted by a signal")
	case errors.Is(err, syscall.EMFILE):
		return fmt.Errorf("%w; raise the limit of open files (ulimit -n): all segments and snapshots are open "+
			"at the same time", err)
	}
	return err
}

// copied is what --json prints.
type copied struct {
	Directory string   `json:"directory"`
	Log       string   `json:"log"`
	First     uint64   `json:"first"`
	Last      uint64   `json:"last"`
	Snapshot  uint64   `json:"snapshot"`
	Bytes     int64    `json:"bytes"`
	Taken     string   `json:"taken"`
	Notes     []string `json:"notes"`
}
