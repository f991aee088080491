package cluster

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sluice/actors/node/inspect"
	"sluice/durability/raftlog"
)

// Inspected is what the data directory of a member, or a backup of one, says.
type Inspected struct {
	Dir        string            `json:"dir"`
	Cluster    string            `json:"cluster"` // its identity; empty if the membership file is damaged
	Node       uint8             `json:"node"`
	Generation uint8             `json:"generation"`
	Members    []InspectedMember `json:"members"` // as far as this directory knows
	Bytes      int64             `json:"bytes"`   // of all files
	inspect.Contents
	Problems []string `json:"problems"` // what is wrong; none if all is intact
}

// InspectedMember is a member of the cluster of a directory.
type InspectedMember struct {
	Node       uint8  `json:"node"`
	Generation uint8  `json:"generation"`
	Role       string `json:"role"`
	Peer       string `json:"peer"`   // its address for the other nodes
	Client     string `json:"client"` // its address for clients
}

// Inspect reads the data directory of a member that runs or not, or a backup of one, with its last events, at most
// as many as tail. It changes nothing. Of a damaged one it returns what can be read, and Problems. The error says
// that the directory is not that of a member.
func Inspect(dir string, app inspect.Application, tail int) (*Inspected, error) {
	is, err := IsMember(dir)
	if err == nil && !is {
		_, err = ReadMembership(dir)
	}
	if err != nil {
		return nil, err
	}
	i := &Inspected{Dir: dir, Bytes: size(dir)}
	i.membership()
	if i.unused() {
		return i, nil
	}
	j, err := inspect.Open(dir, app)
	i.problem(err)
	var again error
	if i.Contents, again = j.Contents(tail); err == nil {
		i.problem(again)
	}
	return i, nil
}

// unused reports that no server has started on the directory yet.
func (i *Inspected) unused() bool {
	for _, name := range []string{"journal", "genesis"} {
		if _, err := os.Lstat(filepath.Join(i.Dir, name)); !errors.Is(err, os.ErrNotExist) {
			return false
		}
	}
	return true
}

func (i *Inspected) problem(err error) {
	if err != nil {
		i.Problems = append(i.Problems, err.Error())
	}
}

// membership reads which member it is, and who the others are.
func (i *Inspected) membership() {
	m, err := ReadMembership(i.Dir)
	if err != nil {
		i.problem(err)
		return
	}
	i.Cluster, i.Node, i.Generation = m.Cluster.String(), m.Node, m.Generation
	t, err := readTable(i.Dir, m)
	if err != nil {
		i.problem(err)
		return
	}
	for _, r := range t.rows {
		i.Members = append(i.Members, InspectedMember{r.Node, raftlog.Generation(r.id), r.role.String(),
			r.Peer, r.Client})
	}
	i.problem(takesPart(m, t))
}

// size is the size of all files below a directory, as far as they can be seen.
func size(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				bytes += info.Size()
			}
		}
		return nil
	})
	return bytes
}

// Text writes it in lines for a person to read.
func (i *Inspected) Text(w io.Writer) error {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-11s %s\n", name, fmt.Sprintf(format, args...))
	}
	switch {
	case len(i.Problems) > 0:
		fmt.Fprintf(&b, "%s is damaged, or cannot be used; what can be read:\n", i.Dir)
	case i.Writing:
		fmt.Fprintf(&b, "%s is intact up to event %d; a server is writing to it\n", i.Dir, i.Last)
	default:
		fmt.Fprintf(&b, "%s is intact\n", i.Dir)
	}
	if i.Backup {
		row("backup", "no server starts on it; sluice cluster restore makes a new cluster from it")
	}
	if i.Cluster != "" {
		row("cluster", "%s", i.Cluster)
		row("node", "%d, generation %d", i.Node, i.Generation)
	}
	for _, m := range i.Members {
		row("member", "%s, generation %d, %s", Member{m.Node, m.Peer, m.Client}, m.Generation, m.Role)
	}
	i.log(row)
	row("bytes", "%d", i.Bytes)
	for n := range i.Tail {
		if n == 0 {
			b.WriteString("  last events\n")
		}
		fmt.Fprintf(&b, "%s\n", &i.Tail[n])
	}
	for _, p := range i.Problems {
		row("problem", "%s", p)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// log writes what the journal says.
func (i *Inspected) log(row func(name, format string, args ...any)) {
	m := i.Member
	switch {
	case m == nil && len(i.Problems) == 0:
		row("journal", "none yet: no server has started on this directory")
		return
	case m == nil:
		row("journal", "cannot be read")
		return
	}
	vote := "none"
	if m.Vote != 0 {
		vote = fmt.Sprintf("node %d", m.Vote)
	}
	row("term", "%d, vote %s, committed up to entry %d", m.Current, vote, m.Commit)
	if m.Begin != 0 {
		row("log", "entries %d to %d, the last one of term %d", m.Begin, m.Index, m.Term)
	} else {
		row("log", "no entry behind entry %d of term %d, which the snapshot includes", m.Index, m.Term)
	}
	events := "none is kept"
	if i.First != 0 {
		events = fmt.Sprintf("%d to %d are kept", i.First, i.Last)
	}
	row("last event", "%d; %s, those up to %d are known to be committed", i.Last, events, m.Committed)
	for _, s := range i.Snapshots {
		after, damaged := "another one", ""
		if s.Seq != 0 {
			after = fmt.Sprintf("after event %d", s.Seq)
		}
		if s.Damaged {
			damaged = ", damaged"
		}
		row("snapshot", "%s: %d bytes%s", after, s.Bytes, damaged)
	}
	policy := i.Policy
	if policy == "" {
		policy = "none in the log: that of --policy, or of a majority"
	}
	row("policy", "%s", policy)
	switch {
	case i.Writing:
	case i.Closed:
		row("end", "closed")
	default:
		row("end", "the last run did not end in order (killed, or the machine failed)")
	}
	if i.Torn != "" {
		row("last write", "incomplete, as after a crash; the next start drops it: %s", i.Torn)
	}
}

// Err is an error if there are problems.
func (i *Inspected) Err() error {
	if len(i.Problems) == 0 {
		return nil
	}
	return fmt.Errorf("cluster: %s is damaged, or cannot be used; problems named above: %d", i.Dir, len(i.Problems))
}
