package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sluice/actors/node"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/durability/raftlog"
)

// InitFrom makes a data directory that of the only member of a new cluster, which goes on where another
// directory has ended: with its state, and with the number of its next event. from is the configuration of what
// wrote that: a single node or a member of another cluster, which does not run, or a backup of one. It stays as it
// is. With to, which is not 0, the state is that after event to: later ones are left out. Other nodes are added to the
// running cluster. It returns the membership that it has written.
//
// The new cluster has another identity than that of a member, and its nodes have ids that no node there had: none
// of them can take part in the new one, and no connection id is given out again.
func InitFrom[R, Q any](ctx context.Context, dir string, m Membership, from node.Config[R, Q],
	to durability.Seq) (Membership, error) {
	if len(m.Members) != 1 {
		return m, fmt.Errorf("cluster: a cluster that goes on from another directory begins with one "+
			"member, and %d are "+
			"named: add the others to the running cluster", len(m.Members))
	}
	if err := m.Check(); err != nil { // before all is read
		return m, err
	}
	first, err := m.goOn(from.DataDir)
	if err != nil {
		return m, err
	}
	t, err := newTable(first)
	if err != nil {
		return m, err
	}
	e, err := node.Export(ctx, from, to)
	if err != nil {
		return m, err
	}
	return m, initWith(dir, &m, t, func() error { return seed(dir, first, e) })
}

// goOn makes the membership that of a node which goes on from a data directory, and returns the members with which
// its log begins.
func (m *Membership) goOn(from string) (first raftlog.Members, err error) {
	if is, err := IsMember(from); !is || err != nil {
		return m.first(), err
	}
	old, err := ReadMembership(from)
	if err != nil {
		return first, err
	}
	t, err := readTable(from, old)
	if err != nil {
		return first, err
	}
	if old.Cluster == m.Cluster {
		return first, fmt.Errorf("cluster: %s is of cluster %s, and the new cluster needs another "+
			"identity: leave it out",
			from, old.Cluster)
	}
	m.Joined, m.Generation = true, t.NextGeneration(m.Node)
	if m.Generation > raftlog.MaxGeneration {
		return first, fmt.Errorf("cluster: number %d was given to %d data directories, and to no more: "+
			"use another number",
			m.Node, m.Generation)
	}
	return t.Alone(m.Node, infoOf(m.Self(), false)), nil
}

// seed makes journal and genesis of a data directory from a state. After an error neither is left.
func seed(dir string, first raftlog.Members, e node.Exported) (err error) {
	path := filepath.Join(dir, "journal")
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(path), os.RemoveAll(filepath.Join(dir, "genesis")))
		}
	}()
	j, found, err := journal.Open(journal.Options{Dir: path})
	if err != nil {
		return err
	}
	err = raftlog.Seed(j, found, e.Last, first, e.Write)
	if err == nil {
		err = node.WriteGenesis(dir, found.Directory, e.Genesis)
	}
	return errors.Join(err, j.Close())
}
