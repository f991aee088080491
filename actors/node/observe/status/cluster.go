package status

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"sluice/actors/node"
)

// WriteCluster writes what a member knows of its cluster: a line, and a table of all members.
func WriteCluster(w io.Writer, c *node.Cluster) error {
	if _, err := fmt.Fprintln(w, clusterLine(c)); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "node\trole\tstate\tmatch\tlag\tin_memory\theard\tdisk\tlink\tversion\tclients")
	for _, x := range c.Members {
		name := strconv.Itoa(int(x.Node))
		if x.Node == c.Node {
			name += "*"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, x.Role, x.State, events(x.Match),
			events(x.Lag), events(x.InMemory), span(x.Heard), span(x.Disk), dash(x.Link), dash(short(x.Version)), x.Client)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "* is the member that was asked; - is not known to it\n")
	return err
}

// readCluster reads what a member knows of its cluster; nil on a single node.
func readCluster(n node.Running) *node.Cluster {
	m, ok := n.(node.Clustered)
	if !ok {
		return nil
	}
	return new(m.Cluster())
}

// memberLine is what decides whether a member is ready.
func memberLine(c *node.Cluster) string {
	return fmt.Sprintf("node %d %s, term %d, %s, %d events behind, class %s", c.Node, c.State, c.Term, leader(c), c.Lag,
		c.Class)
}

// writeFollower writes, in the place of gate and cursors, that a member does not lead: it releases nothing
// by the policy.
func writeFollower(w io.Writer, c *node.Cluster) error {
	text := "no leader is known, so it cannot be changed now"
	for _, m := range c.Members {
		if m.Node == c.Leader {
			text = fmt.Sprintf("node %d leads, and shows how far it is met; it is changed there (for clients: %s)",
				m.Node, m.Client)
		}
	}
	_, err := fmt.Fprintf(w, "class %s\nnode %d does not lead; %s\n", c.Class, c.Node, text)
	return err
}

// leader says which member leads, and for how long.
func leader(c *node.Cluster) string {
	if c.Leader == 0 {
		return "no leader for " + Span(c.Since)
	}
	return fmt.Sprintf("leader %d (since %s)", c.Leader, Span(c.Since))
}

// clusterLine is the state of a cluster in one line.
func clusterLine(c *node.Cluster) string {
	voters := 0
	for _, x := range c.Members {
		if x.Role == "voter" {
			voters++
		}
	}
	return fmt.Sprintf("term %d  %s  quorum %d of %d  policy %s (%s)  committed %d  applied %d", c.Term, leader(c),
		c.Quorum, voters, c.Policy, c.Class, c.Committed, c.Applied)
}

// events is a number that may not be known.
func events(n *uint64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatUint(*n, 10)
}

// span is a time that may not be known.
func span(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	return Span(*seconds)
}

// short is a version, or the first digits of a revision.
func short(version string) string {
	if len(version) < 40 {
		return version
	}
	return version[:12]
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
