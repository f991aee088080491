package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os/signal"
	"syscall"
	"time"

	"sluice/actors/node"
	"sluice/actors/node/cluster"
	"sluice/cmd/internal/config"
	"sluice/cmd/orderbook"
	"sluice/durability"
)

const clusterBackupHead = `usage: sluice cluster backup [flags] TARGET

Copies the data directory of a member, which runs or not, to TARGET, which must not exist, verifies the copy,
and prints what it has. What the member had on its disk when the backup began is in it. Nothing is asked of the
server, and nothing in its directory is changed. TARGET gets its name once everything is on disk. What an
interrupted backup left is called TARGET.partial-NUMBER, and can be removed.

The leader has every order that was acknowledged; another member may be behind it by its lag, see sluice cluster
status. Run the command as the user of the server.

A backup is not served, and a member never goes back to one: sluice cluster restore makes a new cluster from it.
sluice cluster inspect reads it again.

Exit codes: 0 done, 1 failed or damaged, 64 usage error.`

const clusterRestoreHead = `usage: sluice cluster restore [flags] SOURCE

Makes the data directory of the first node of a new cluster. SOURCE is a backup that sluice cluster backup took, or
the data directory of a member that has ended, for the case that a majority of the members is lost for good. It
stays as it is. --data-dir must not exist, or be empty.

The cluster has an identity of its own: nodes of the old one, which may still run, cannot take part. It goes on after
the last event of SOURCE. Connections that were open then count as lost. Later events, which only other nodes have,
are not in it. The node has the number and the addresses of the member that was copied, unless --member says
otherwise. Other nodes are added with sluice cluster add while it runs.

Exit codes: 0 done, 1 failed or damaged, 64 usage error.`

const clusterInspectHead = `usage: sluice cluster inspect [flags] DIR

Prints what the data directory of a member, or a backup of one, has: which member of which cluster it is, the
members, term, vote, what is committed, the range of the log, snapshots, policy, and the last events. Nothing is
changed, and a server may run on it. Of a damaged directory it prints what can be read, and what is wrong.

Exit codes: 0 intact, 1 damaged or failed, 64 usage error.`

// inspectedEvents is the default number of events that inspect prints.
const inspectedEvents = 5

// clusterBackup is `sluice cluster backup`.
func clusterBackup(e *env, args []string) error {
	dir, asJSON := "./sluice-data", false
	set := config.NewSet("",
		config.Setting{Name: "data-dir", Group: "Flags", Value: config.Text(&dir, "DIR"),
			Help: "copy this data directory of a member"},
		config.Setting{Name: "json", Group: "Flags", Value: config.Bool(&asJSON), Help: "print one JSON object"},
	)
	target, done, err := oneDirectory(e, set, args, clusterBackupHead, "TARGET")
	if done || err != nil {
		return err
	}
	e.json = asJSON
	if _, err := cluster.ReadMembership(dir); err != nil {
		return err
	}
	ctx, release := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer release()
	began := time.Now()
	c, err := node.Backup(ctx, dir, target)
	if err != nil {
		return unfinishedCopy(ctx, err)
	}
	for _, note := range c.Notes {
		fmt.Fprintln(e.stderr, "sluice: note:", note)
	}
	if !asJSON {
		fmt.Fprintf(e.stdout, "backup of %s, taken %s, in %s\n", dir, c.Taken.Format(time.RFC3339),
			time.Since(began).Round(time.Millisecond))
	}
	return printInspected(e, target, 0, c.Taken)
}

// clusterRestore is `sluice cluster restore`.
func clusterRestore(e *env, args []string) error {
	dir, to := "./sluice-data", 0
	var members memberList
	set := config.NewSet("",
		config.Setting{Name: "data-dir", Group: "Flags", Value: config.Text(&dir, "DIR"),
			Help: "make this data directory"},
		config.Setting{Name: "member", Group: "Flags", Value: &members,
			Help: "number of the node, its address for the other nodes, and its address for clients; " +
				"those of SOURCE if empty"},
		config.Setting{Name: "to", Group: "Flags", Value: config.Count(&to, 0, math.MaxInt, false),
			Help: "leave out the events after number N, such as a checkpoint that no node can pass; 0 for none"},
	)
	source, done, err := oneDirectory(e, set, args, clusterRestoreHead, "SOURCE")
	if done || err != nil {
		return err
	}
	old, err := cluster.ReadMembership(source)
	if err != nil {
		return err
	}
	if len(members) == 0 {
		now, err := cluster.ReadCurrent(source, old)
		if err != nil {
			return err
		}
		members = memberList{now.Self}
	}
	if len(members) > 1 {
		return config.Usagef("--member: %d members are named: the new cluster begins with one; add the "+
			"others while it runs",
			len(members))
	}
	m := cluster.Membership{Node: members[0].Node, Members: members}
	return beginFrom(e, dir, source, m, durability.Seq(to))
}

// clusterInspect is `sluice cluster inspect`.
func clusterInspect(e *env, args []string) error {
	asJSON, tail := false, inspectedEvents
	set := config.NewSet("",
		config.Setting{Name: "events", Group: "Flags", Value: config.Count(&tail, 0, math.MaxInt32, false),
			Help: "print the last N events"},
		config.Setting{Name: "json", Group: "Flags", Value: config.Bool(&asJSON), Help: "print one JSON object"},
	)
	dir, done, err := oneDirectory(e, set, args, clusterInspectHead, "DIR")
	if done || err != nil {
		return err
	}
	e.json = asJSON
	return printInspected(e, dir, tail, time.Time{})
}

// oneDirectory reads the settings of a command that has one argument, and returns that.
func oneDirectory(e *env, set *config.Set, args []string, head, name string) (dir string, done bool, err error) {
	rest, done, err := load(e, set, args, head)
	if done || err != nil {
		return "", done, err
	}
	if len(rest) != 1 || rest[0] == "" {
		return "", false, config.Usagef("name one directory: %s", name)
	}
	return rest[0], false, nil
}

// printInspected prints what a directory of a member has. The error says that it is damaged.
func printInspected(e *env, dir string, tail int, taken time.Time) error {
	book, err := orderbook.New(orderbook.Config{})
	if err != nil {
		return err
	}
	i, err := cluster.Inspect(dir, book, tail)
	if err != nil {
		return err
	}
	if !e.json {
		err = i.Text(e.stdout)
	} else {
		out := struct {
			*cluster.Inspected
			Taken string `json:"taken,omitempty"` // of a backup that was made
		}{Inspected: i}
		if !taken.IsZero() {
			out.Taken = taken.Format(time.RFC3339)
		}
		err = json.NewEncoder(e.stdout).Encode(out)
	}
	if err == nil {
		e.json = false // the object says what is wrong
		err = i.Err()
	}
	return err
}
