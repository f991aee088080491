package node

import (
	"fmt"
	"time"

	"sluice/transport"
	"sluice/transport/listen"
)

// KeyChanges is what a keyring changed when it was put in force.
type KeyChanges struct {
	listen.Changes     // the keys that were added, removed or changed
	Keys           int // in force
	Closed         int // connections that are closed, because their key may do less than before
}

// String is one line.
func (c KeyChanges) String() string {
	text := fmt.Sprintf("%d keys", c.Keys)
	if c.Keys == 1 {
		text = "1 key"
	}
	for _, part := range []struct {
		what string
		keys []string
	}{{"added", c.Added}, {"removed", c.Removed}, {"changed", c.Changed}} {
		if len(part.keys) > 0 {
			text += fmt.Sprintf("; %s: %s", part.what, abridged(part.keys))
		}
	}
	if c.Closed > 0 {
		text += fmt.Sprintf("; connections closed: %d", c.Closed)
	}
	return text
}

const keysNamed = 20 // of one kind in a line

func abridged(keys []string) string {
	text, rest := "", len(keys)-keysNamed
	for i, key := range keys[:min(len(keys), keysNamed)] {
		if i > 0 {
			text += ", "
		}
		text += key
	}
	if rest > 0 {
		text += fmt.Sprintf(" and %d more", rest)
	}
	return text
}

// SetKeys puts authorized keys in force. Connections whose key is gone, has expired, or may do less than
// before are closed with the reason revoked; what they sent and what was not executed yet is refused. A key
// that may do more can do it at once, except with a higher role, which needs a new connection.
func (n *Node[R, Q]) SetKeys(ring *listen.Keyring) KeyChanges {
	// In this order: a connection whose handshake knew the old keys is judged by the new ones when it is
	// admitted, and no handshake knows a key that is not in the table.
	before, less := n.identities.use(ring, time.Now())
	n.listener.SetKeys(ring)
	return KeyChanges{Changes: ring.Since(before), Keys: ring.Len(), Closed: n.revoke(less)}
}

// revoke ends the connections of identities, and those whose key no longer has their role.
func (n *Node[R, Q]) revoke(less []*listen.Identity) (closed int) {
	keys := make(map[listen.Fingerprint]bool, len(less))
	for _, id := range less {
		keys[id.Key] = true
	}
	all := n.clients.which(func(key listen.Fingerprint, role listen.Role) bool {
		return keys[key] || !n.identities.permits(key, role)
	})
	for _, conn := range all {
		n.close(conn)
	}
	return len(all)
}

// keysLook bounds the time between two looks for expired keys, because the wall clock may jump.
const keysLook = 10 * time.Second

// expireKeys closes the connections of keys that have expired, and returns when to look again.
func (n *Node[R, Q]) expireKeys() time.Duration {
	expired, next, some := n.identities.expire(time.Now())
	if len(expired) > 0 {
		var names []string
		for _, id := range expired {
			names = append(names, id.String())
		}
		closed := n.revoke(expired)
		n.log.Info("keys expired", "keys", abridged(names), "closed", closed)
		if n.cfg.Audit != nil {
			n.cfg.Audit.Warn("keys expired", "keys", abridged(names), "closed", closed)
		}
	}
	if !some {
		return keysLook
	}
	return min(max(next, time.Millisecond), keysLook)
}

// KeyUse is an authorized key and what it uses.
type KeyUse struct {
	*listen.Identity
	Open int // connections
}

// Keys lists the authorized keys, in the order of the keys file.
func (n *Node[R, Q]) Keys() []KeyUse {
	open := n.clients.byKey()
	var all []KeyUse
	for _, id := range n.identities.table.Load().ring.All() {
		all = append(all, KeyUse{id, open[id.Key]})
	}
	return all
}

// KickKey ends the connections of a key, by its name or fingerprint, and returns their number. The key
// stays authorized.
func (n *Node[R, Q]) KickKey(name string) (closed int, err error) {
	id := n.identities.table.Load().ring.Named(name)
	if id == nil {
		return 0, fmt.Errorf("node: kick %q: no authorized key has that name or fingerprint: %w", name, ErrNoConnection)
	}
	for _, conn := range n.clients.which(func(key listen.Fingerprint, _ listen.Role) bool { return key == id.Key }) {
		if err := n.pipeline.Kick(conn, transport.ReasonKicked); err != nil {
			return closed, err
		}
		closed++
	}
	if closed == 0 {
		return 0, fmt.Errorf("node: kick %q: %w of that key", name, ErrNoConnection)
	}
	return closed, nil
}

// named adds the name of its key to a client.
func (n *Node[R, Q]) named(c Client) Client {
	if id := n.identities.table.Load().ring.Find(c.Key); id != nil {
		c.Name = id.Name
	}
	return c
}
