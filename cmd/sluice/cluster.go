package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/actors/node"
	"sluice/actors/node/cluster"
	"sluice/cmd/internal/config"
	"sluice/cmd/orderbook"
	"sluice/durability"
	"sluice/durability/raftlog"
)

const clusterHead = `usage: sluice cluster COMMAND [flags]

  init       make the data directory of a member
  status     print what a running member knows of the cluster
  transfer   have the leader hand its leadership to another member
  add        add a node to a running cluster
  promote    make a learner a voter
  remove     remove a member
  replace    give the number of a member whose data is lost to a new data directory
  backup     copy the data directory of a member
  restore    make a new cluster from a backup, or from what is left of one
  inspect    print what the data directory of a member has

sluice serve --cluster serves on it. sluice cluster COMMAND --help lists the flags.`

// clusterVerbs lists the commands of `sluice cluster`. A new one needs its function, a line here, and one
// in clusterHead.
func clusterVerbs() []command {
	return []command{
		{name: "init", run: clusterInit},
		{name: "status", run: clusterStatus},
		{name: "transfer", run: clusterTransfer},
		{name: "add", run: clusterAdd},
		{name: "promote", run: clusterPromote},
		{name: "remove", run: clusterRemove},
		{name: "replace", run: clusterReplace},
		{name: "backup", run: clusterBackup},
		{name: "restore", run: clusterRestore},
		{name: "inspect", run: clusterInspect},
	}
}

// clusterCommand is `sluice cluster`.
func clusterCommand(e *env, args []string) error {
	if len(args) > 0 && slices.Contains([]string{"help", "--help", "-h", "-help"}, args[0]) {
		_, err := fmt.Fprintln(e.stdout, clusterHead)
		return err
	}
	var names []string
	for _, v := range clusterVerbs() {
		if len(args) > 0 && args[0] == v.name {
			return v.run(e, args[1:])
		}
		names = append(names, v.name)
	}
	if len(args) == 0 {
		return config.Usagef("name a command: %s", strings.Join(names, ", "))
	}
	return config.Usagef("unknown cluster command %q; %sthe commands are %s", args[0],
		config.DidYouMean(args[0], names), strings.Join(names, ", "))
}

const clusterInitHead = `usage: sluice cluster init --node N --member 1=PEER,CLIENT --member 2=... --member 3=... [flags]

       sluice cluster init --join TICKET [--data-dir DIR]
       sluice cluster init --from DIR --node N --member N=PEER,CLIENT [flags]

Makes the data directory of one member of a new cluster of one node, or three to seven. Without --cluster-id,
a random identity is made, and the commands for the other nodes are printed. All nodes must be made with the
same identity and the same members.

With --from, makes that of the first node of a cluster that goes on where a single node has ended. The
others are added while it runs.

With --join, makes that of a node that was added to a running cluster: sluice cluster add and replace
print the ticket.

PEER is the host:port where the other nodes reach a node, CLIENT the one that clients are given.

Exit codes: 0 done, 1 failed, 64 usage error.`

// joined makes the data directory of a node that was added to a running cluster.
func joined(e *env, dir, ticket string) error {
	m, err := cluster.Join(dir, ticket)
	if err == nil {
		_, err = fmt.Fprintf(e.stdout, "# %s is that of node %d of cluster %s.\n", dir, m.Node, m.Cluster)
	}
	return err
}

// clusterInit is `sluice cluster init`.
func clusterInit(e *env, args []string) error {
	dir, id, join, from, node, again := "./sluice-data", "", "", "", 0, false
	var members memberList
	set := config.NewSet("",
		config.Setting{Name: "data-dir", Group: "Flags", Value: config.Text(&dir, "DIR"),
			Help: "make this directory, which must be empty or missing"},
		config.Setting{Name: "node", Group: "Flags", Value: config.Count(&node, 0, raftlog.MaxNode, false),
			Help: "the number of this node, one of the members: 1 to " + strconv.Itoa(raftlog.MaxNode)},
		config.Setting{Name: "member", Group: "Flags", Value: &members,
			Help: "a member: its number, its address for the other nodes, and its address for clients; " +
				"once for each member, this node included"},
		config.Setting{Name: "cluster-id", Group: "Flags", Value: config.Text(&id, "HEX"),
			Help: "the identity of the cluster that another node was made for; a random one if empty"},
		config.Setting{Name: "if-missing", Group: "Flags", Value: config.Bool(&again),
			Help: "succeed and change nothing if the directory is that of this node of this cluster already, for " +
				"scripts that run at each start"},
		config.Setting{Name: "join", Group: "Flags", Value: config.Text(&join, "TICKET"),
			Help: "make the directory of a node that was added to a running cluster, instead of that of a new cluster"},
		config.Setting{Name: "from", Group: "Flags", Value: config.Text(&from, "DIR"),
			Help: "go on from this data directory of a single node, which has ended, or from a backup of " +
				"it: its state becomes that of the cluster"},
	)
	rest, done, err := load(e, set, args, clusterInitHead)
	if done || err != nil {
		return err
	}
	if err := noArguments(rest, "cluster init"); err != nil {
		return err
	}
	if join != "" {
		if node != 0 || id != "" || len(members) > 0 {
			return config.Usagef("--join has everything that --node, --member and --cluster-id say: leave them out")
		}
		return joined(e, dir, join)
	}
	m := cluster.Membership{Node: uint8(node), Members: members}
	switch {
	case node == 0:
		return config.Usagef("--node is missing: write the number of this node, one of the members, from 1 to %d",
			raftlog.MaxNode)
	case len(members) == 0:
		return config.Usagef("--member is missing: write one as N=PEER,CLIENT for each member, this node included, such " +
			"as --member 1=10.0.0.1:9870,10.0.0.1:9876")
	case id == "":
		_, _ = rand.Read(m.Cluster[:]) // never fails
	default:
		if m.Cluster, err = cluster.ParseID(id); err != nil {
			return config.Usagef("--cluster-id: %v", err)
		}
	}
	if err := m.Check(); err != nil {
		return config.Usagef("--node, --member: %v", err)
	}
	if again {
		if is, err := isOf(dir, &m); is || err != nil {
			return err
		}
	}
	if from != "" {
		return beginFrom(e, dir, from, m, 0)
	}
	if err := cluster.Init(dir, m); err != nil {
		return err
	}
	_, err = fmt.Fprint(e.stdout, nextSteps(dir, &m, id == ""))
	return err
}

// beginFrom makes the data directory of the first member of a new cluster that goes on from another directory. It
// gets a random identity if it has none.
func beginFrom(e *env, dir, from string, m cluster.Membership, to durability.Seq) error {
	books, err := orderbook.Factory(orderbook.Config{}) // that of the directory
	if err != nil {
		return err
	}
	if m.Cluster == (cluster.ID{}) {
		_, _ = rand.Read(m.Cluster[:]) // never fails
	}
	if m, err = cluster.InitFrom(context.Background(), dir, m, node.Config[orderbook.Report, orderbook.Answer]{
		DataDir: from, Application: books, Encoder: orderbook.Encoder{}}, to); err != nil {
		return err
	}
	if err := printInspected(e, dir, 0, time.Time{}); err != nil {
		return err
	}
	_, err = fmt.Fprint(e.stdout, nextSteps(dir, &m, false))
	return err
}

// isOf reports whether a directory is that of a member. One of another member is an error.
func isOf(dir string, m *cluster.Membership) (bool, error) {
	is, err := cluster.IsMember(dir)
	if err != nil || !is {
		return false, err
	}
	has, err := cluster.ReadMembership(dir)
	if err == nil && (has.Node != m.Node || has.Cluster != m.Cluster) {
		err = fmt.Errorf("%s is the data directory of node %d of cluster %s, not of node %d of cluster %s: mount its own volume",
			dir, has.Node, has.Cluster, m.Node, m.Cluster)
	}
	return true, err
}

// nextSteps returns commands with comments that a shell takes as they are: what is to be run after Init,
// and on all other nodes if the identity is new.
func nextSteps(dir string, m *cluster.Membership, fresh bool) string {
	var b strings.Builder
	serve := func(x cluster.Member) {
		fmt.Fprintf(&b, "sluice serve --cluster --data-dir %s --listen-tcp %s\n", quoteShell(dir), quoteShell(x.Client))
	}
	fmt.Fprintf(&b, "# %s is that of node %d of cluster %s. To start it:\n", dir, m.Node, m.Cluster)
	serve(m.Self())
	for _, other := range m.Members {
		if !fresh || other.Node == m.Node {
			continue
		}
		fmt.Fprintf(&b, "# On node %d:\nsluice cluster init --data-dir %s --cluster-id %s --node %d", other.Node,
			quoteShell(dir), m.Cluster, other.Node)
		for _, x := range m.Members {
			fmt.Fprintf(&b, " --member %s", quoteShell(x.String()))
		}
		b.WriteByte('\n')
		serve(other)
	}
	b.WriteString("# Nodes on different machines also need --peer-cert, --peer-key, --peer-ca and --authorized-keys.\n")
	return b.String()
}

// quoteShell quotes a word for a shell, if it must be.
func quoteShell(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:,=@%+", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// memberList is a flag that may be given several times. Its variable holds all members, with spaces
// between them.
type memberList []cluster.Member

// String returns what Set reads.
func (l *memberList) String() string {
	var words []string
	for _, m := range *l {
		words = append(words, m.String())
	}
	return strings.Join(words, " ")
}

// Form returns the form of one member.
func (l *memberList) Form() string { return "N=PEER,CLIENT" }

// Set adds members; an empty text removes all.
func (l *memberList) Set(text string) error {
	if text == "" {
		*l = nil
	}
	for _, word := range strings.Fields(text) {
		m, err := cluster.ParseMember(word)
		if err != nil {
			return err
		}
		*l = append(*l, m)
	}
	slices.SortFunc(*l, func(a, b cluster.Member) int { return int(a.Node) - int(b.Node) })
	return nil
}
