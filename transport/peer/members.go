package peer

import (
	"context"
	"fmt"
)

// Peer is another node of the cluster.
type Peer struct {
	Address    string // host:port
	Generation uint8  // of the node's id: a process of another generation is refused
}

// SetPeers makes peers the other nodes, in the place of those before. Connections from and to a node that
// is none of them, or has another generation now, are closed. An address that has changed counts for the
// next connection; those that are open stay. An error names a wrong peer, and nothing has changed then.
func (l *Links) SetPeers(peers map[uint8]Peer) error {
	next := l.cfg
	next.Peers = peers
	if err := next.checkPeers(); err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	for n := range l.remotes {
		p, now := l.remotes[n].Load(), peers[uint8(n)]
		switch {
		case p != nil && now.Address != "" && now.Generation == p.generation:
			p.address.Store(&now.Address)
			continue
		case p != nil:
			l.remotes[n].Store(nil)
			p.stop()
			p.cut()
		}
		if now.Address != "" {
			l.remotes[n].Store(l.newRemote(uint8(n), now))
			l.startRemote(l.remotes[n].Load())
		}
	}
	return nil
}

// startRemote begins to connect, if the Links have begun. The caller holds l.mu.
func (l *Links) startRemote(p *remote) {
	if !l.started {
		return
	}
	for i, k := range p.out {
		before, done := l.reporting[p.node][i], make(chan struct{})
		l.reporting[p.node][i] = done
		l.wg.Go(func() {
			defer close(done)
			if before != nil {
				<-before // its node has ceased to be a peer; OnState may still run
			}
			k.run()
		})
	}
}

// admits reports why the node that says a Hello cannot take part. What the Hello says of the members counts
// before it is judged: this node may have been away.
func (l *Links) admits(h *hello) error {
	if l.cfg.OnTable != nil && len(h.table) > 0 {
		l.cfg.OnTable(h.from, h.table)
	}
	p := l.peer(h.from)
	switch {
	case p != nil && p.generation == h.generation:
		return l.knows(h)
	case l.cfg.Removed != nil && l.cfg.Removed(h.from, h.generation):
		return &removedError{fmt.Sprintf("node %d of generation %d is not a member any more, says node %d: it was removed "+
			"from the cluster, or replaced. Its data directory has no further use", h.from, h.generation, l.cfg.Node)}
	case p != nil:
		return fmt.Errorf("node %d of generation %d is unknown to node %d, which has generation %d of it", h.from,
			h.generation, l.cfg.Node, p.generation)
	}
	return fmt.Errorf("node %d is unknown to node %d, which has %s: add it with sluice cluster add", h.from, l.cfg.Node,
		l.members())
}

// removedError is the refusal of a node that is not a member any more.
type removedError struct{ text string }

func (e *removedError) Error() string { return e.text }

// noMember tells the owner that this node is not a member any more, if that is what a refusal says.
func (l *Links) noMember(refused *RefusedError) {
	if refused.Removed && l.cfg.OnRemoved != nil && l.ctx.Err() == nil {
		l.cfg.OnRemoved(refused.Text)
	}
}

// life is the time for which a node is a peer.
type life struct {
	ctx  context.Context // ends with it, and with the Links
	stop context.CancelFunc
}
