package cluster

import (
	"fmt"
	"slices"
	"sync/atomic"

	"sluice/durability/raftlog"
	"sluice/transport/peer"
)

// membership is the table of members that this node knows. Any goroutine.
type membership struct {
	now   atomic.Pointer[table]
	fresh chan struct{} // a token: the table has changed
}

func (m *membership) init(t *table) {
	m.fresh = make(chan struct{}, 1)
	m.now.Store(t)
}

func (m *membership) load() *table { return m.now.Load() }

// text is what other nodes are told.
func (m *membership) text() []byte { return m.load().encode() }

// take makes a table the one that counts, unless it is older.
func (m *membership) take(t *table) {
	for {
		was := m.now.Load()
		if t.Index <= was.Index {
			return
		}
		if m.now.CompareAndSwap(was, t) {
			break
		}
	}
	m.token()
}

func (m *membership) token() {
	select {
	case m.fresh <- struct{}{}:
	default:
	}
}

// changed takes what the log says of the members.
func (m *membership) changed(now raftlog.Members) {
	t, err := newTable(now)
	if err != nil { // an entry that a leader of this package did not write
		panic(fmt.Sprintf("cluster: the log has a member that cannot be: %v", err))
	}
	m.take(t)
}

// takesPart reports why a data directory cannot take part any more.
func takesPart(m *Membership, t *table) error {
	if _, is := t.byID(m.id()); is {
		return nil
	}
	return fmt.Errorf("cluster: node %d of generation %d is not a member of cluster %s any more: it was removed, or replaced. "+
		"Its data directory has no further use: add the node again with sluice cluster add, in a new directory",
		m.Node, m.Generation, m.Cluster)
}

// voters is the number of members that count for a majority, at least 1.
func (m *Node[R, Q]) voters() int { return max(1, m.table.load().Voters()) }

// idOf is the id of the member that has a number; 0 if there is none.
func (m *Node[R, Q]) idOf(node uint8) uint64 {
	r, _ := m.table.load().byNode(node)
	return r.id
}

// removed reports that a node was a member, and is not any more.
func (m *Node[R, Q]) removed(number, generation uint8) bool {
	return m.table.load().removed(raftlog.NodeID(number, generation))
}

// learn takes what another node says of the members, which may be newer.
func (m *Node[R, Q]) learn(from uint8, text []byte) {
	t, err := decodeTable(text)
	if err != nil {
		m.log.Warn("what another node says of the members cannot be read", "node", from, "error", err)
		return
	}
	if t.Index > m.table.load().Index {
		m.table.take(t)
		m.connect()
	}
}

// connect makes the links those to the members.
func (m *Node[R, Q]) connect() {
	if err := m.links.SetPeers(m.table.load().peers(m.id)); err != nil {
		m.log.Error("the links to the members cannot be made", "error", err)
	}
}

// refusedForGood takes notice that another member says that this node was removed.
func (m *Node[R, Q]) refusedForGood(text string) {
	for {
		was := m.table.now.Load()
		if _, is := was.byID(m.id); !is {
			return
		}
		if m.table.now.CompareAndSwap(was, was.without(m.id)) {
			break
		}
	}
	m.log.Warn("refused by the cluster", "error", text)
	m.table.token()
}

// watchMembers is the goroutine that carries out what the table says.
func (m *Node[R, Q]) watchMembers() {
	for {
		select {
		case <-m.table.fresh:
		case <-m.ending.closing:
			return
		}
		t := m.table.load()
		m.connect()
		if p := m.now.Load(); p != nil {
			m.watchPeers(p.Node.Collector())
		}
		if err := write(m.cfg.Node.DataDir, tableFile, t.encode()); err != nil {
			m.log.Error("the table of members cannot be written; a start may need those of another node", "error", err)
		}
		if _, is := t.byID(m.id); !is && t.removed(m.id) {
			m.leave()
			return
		}
	}
}

// leave ends this node, which is not a member any more.
func (m *Node[R, Q]) leave() {
	m.log.Warn("this node is not a member of the cluster any more; shutting down", "node", m.members.Node,
		"generation", m.members.Generation)
	go func() {
		ctx, cancel := m.bounded(m.ending.ctx)
		defer cancel()
		_ = m.Drain(ctx) // Err has the error
	}()
}

// Left is nil while this node is a member. Afterwards its error says that the node was removed or replaced, and that
// its data directory has no further use. Any goroutine.
func (m *Node[R, Q]) Left() error { return takesPart(m.members, m.table.load()) }

// Electors are the members that vote, as far as a data directory knows. Of several directories of a cluster, the one
// with the greatest Index knows most.
type Electors struct {
	Index uint64 // of the entry of the log that made them
	IDs   []uint64
}

// ReadElectors reads them. The directory may be that of a node that is not a member any more.
func ReadElectors(dir string, m *Membership) (e Electors, err error) {
	t, err := readTable(dir, m)
	if err != nil {
		return e, err
	}
	for _, r := range t.rows {
		if r.role.Votes() {
			e.IDs = append(e.IDs, r.id)
		}
	}
	e.Index = t.Index
	return e, nil
}

// Include reports whether the node of a data directory is one of them.
func (e Electors) Include(m *Membership) bool { return slices.Contains(e.IDs, m.id()) }

// Current is who the members are, as far as a data directory knows. A running member may know more.
type Current struct {
	Self   Member
	Peers  map[uint8]peer.Peer // the others, for the links
	Voters int
}

// ReadCurrent reads it. The error says so if the directory is not that of a member any more.
func ReadCurrent(dir string, m *Membership) (c Current, err error) {
	t, err := readTable(dir, m)
	if err != nil {
		return c, err
	}
	if err := takesPart(m, t); err != nil {
		return c, err
	}
	self, _ := t.byID(m.id())
	return Current{Self: self.Member, Peers: t.peers(m.id()), Voters: max(1, t.Voters())}, nil
}
