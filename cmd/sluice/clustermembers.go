package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"sluice/actors/node"
	"sluice/actors/node/observe"
	"sluice/cmd/internal/config"
)

const clusterChangeTail = `

The command goes to the leader, through its admin socket, or to its address for clients with a key of
role operator. It returns when the log of the cluster has the change. One change is made at a time.

Exit codes: 0 done, 1 failed, 64 usage error.`

const clusterAddHead = `usage: sluice cluster add --peer-addr ADDR --client-addr ADDR [--learner] [flags] NODE

Adds a node: it becomes a learner, which has the log and no vote. It is promoted to a voter when it has
kept up with the log for a second. With one voter, two learners are promoted together. Prints the
commands to be run on the node.` + clusterChangeTail

const clusterPromoteHead = `usage: sluice cluster promote [--instead-of VOTER] [--force] [flags] NODE [NODE...]

Makes learners voters, all at once. With --instead-of, a voter leaves the cluster at the same time.` + clusterChangeTail

const clusterRemoveHead = `usage: sluice cluster remove [--force] [flags] NODE

Removes a member. Its process ends by itself, and does not start again on its data directory. The leader
is not removed: transfer its leadership first.` + clusterChangeTail

const clusterReplaceHead = `usage: sluice cluster replace [--peer-addr ADDR] [--client-addr ADDR] [--force] [flags] NODE

Gives the number of a member whose data is lost to a new data directory, on the same machine or another
one. What is left of the old directory is refused from then on. The node becomes a learner, and is
promoted when it has caught up. Prints the commands to be run on it.` + clusterChangeTail

// memberVerb is a command that changes the membership.
type memberVerb struct {
	verb, head string
	flags      func(c *node.MemberChange) []config.Setting
	check      func(c *node.MemberChange) error // nil: nothing is to be checked
}

// forceFlag is the setting of changes that may be refused for safety.
func forceFlag(c *node.MemberChange, help string) config.Setting {
	return adminFlag("force", config.Bool(&c.Force), help)
}

func addressFlags(c *node.MemberChange, unless string) []config.Setting {
	return []config.Setting{
		adminFlag("peer-addr", config.Text(&c.Peer, "ADDR"), "host:port where the other nodes reach the node"+unless),
		adminFlag("client-addr", config.Text(&c.Client, "ADDR"), "host:port that clients are given"+unless),
	}
}

func clusterAdd(e *env, args []string) error {
	return changeMembers(e, args, memberVerb{node.MemberAdd, clusterAddHead, func(c *node.MemberChange) []config.Setting {
		return append(addressFlags(c, ""), adminFlag("learner", config.Bool(&c.Learner), "do not promote it"))
	}, func(c *node.MemberChange) error {
		if c.Peer == "" || c.Client == "" {
			return config.Usagef("cluster add: write --peer-addr and --client-addr, the addresses of the node")
		}
		return nil
	}})
}

func clusterPromote(e *env, args []string) error {
	instead := 0
	return changeMembers(e, args, memberVerb{node.MemberPromote, clusterPromoteHead,
		func(c *node.MemberChange) []config.Setting {
			return []config.Setting{
				adminFlag("instead-of", config.Count(&instead, 0, 31, false),
					"the number of a voter that leaves at the same time; 0 for none"),
				forceFlag(c, "promote also if two voters would be left, or a learner has not caught up")}
		}, func(c *node.MemberChange) error {
			c.InsteadOf = uint8(instead)
			return nil
		}})
}

func clusterRemove(e *env, args []string) error {
	return changeMembers(e, args, memberVerb{node.MemberRemove, clusterRemoveHead,
		func(c *node.MemberChange) []config.Setting {
			return []config.Setting{forceFlag(c, "remove also if two voters would be left")}
		}, nil})
}

func clusterReplace(e *env, args []string) error {
	return changeMembers(e, args, memberVerb{node.MemberReplace, clusterReplaceHead,
		func(c *node.MemberChange) []config.Setting {
			return append(addressFlags(c, "; its present one if empty"), forceFlag(c, "replace also a node that is up"))
		}, nil})
}

// changeMembers runs a command that changes the membership.
func changeMembers(e *env, args []string, v memberVerb) error {
	c := newAdminConfig()
	change := node.MemberChange{Verb: v.verb}
	set := config.NewSet("", append(v.flags(&change), c.endpoints()...)...)
	rest, done, err := load(e, set, args, v.head)
	if done || err != nil {
		return err
	}
	for i, word := range rest {
		n, err := strconv.ParseUint(word, 10, 8)
		switch {
		case err != nil || n == 0 || i > 0 && v.verb != node.MemberPromote:
			return config.Usagef("cluster %s: got %q; write the number of a node", v.verb, rest)
		case i == 0:
			change.Node = uint8(n)
		default:
			change.With = append(change.With, uint8(n))
		}
	}
	if change.Node == 0 {
		return config.Usagef("cluster %s: write the number of the node", v.verb)
	}
	if v.check != nil {
		if err := v.check(&change); err != nil {
			return err
		}
	}
	e.json = c.JSON
	api, err := c.client(set)
	if err != nil {
		return err
	}
	return c.carryOut(api, func(ctx context.Context, client *observe.Client, w io.Writer) error {
		changed, err := client.Change(ctx, change)
		if err != nil {
			return err
		}
		return c.write(w, &memberChanged{changed, change.Node})
	}, e.stdout)
}

// memberChanged is the result of a change, with what is to be done next.
type memberChanged struct {
	node.MemberChanged
	number uint8
}

// Text writes commands with comments that a shell takes as they are.
func (m *memberChanged) Text(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "# %s\n", m.Done); err != nil || m.Ticket == "" {
		return err
	}
	_, err := fmt.Fprintf(w, "# On node %d, with an empty data directory:\nsluice cluster init --data-dir DIR --join %s\n"+
		"sluice serve --cluster --data-dir DIR --listen-tcp %s\n", m.number, m.Ticket, quoteShell(m.Client))
	return err
}
