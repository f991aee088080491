package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"maps"
	"sync"

	"sluice/actors/node"
	"sluice/transport"
	"sluice/transport/listen"
)

// reloads is what was changed while the member runs: the node of each period begins with it. The keys
// are those that were read last, so that a file which is damaged now ends no member when the leader
// changes.
type reloads struct {
	mu      sync.Mutex      // guards the rest, and is held while the node of a period opens
	keys    *listen.Keyring // nil: the member has no keys file
	tls     *tls.Config     // nil: the member has no certificate for clients
	changes *node.Changes   // nil: none
}

// apply enters what was changed in the configuration of a period's node. The caller holds mu.
func (r *reloads) apply(keysFile *string, l *listen.Config, limits *[]transport.Limits,
	endpoints *map[string]transport.Limits) {
	if r.keys != nil {
		*keysFile, l.Keys = "", r.keys
	}
	l.TLS = r.tls
	if c := r.changes; c != nil {
		*limits, *endpoints = []transport.Limits{c.Limits}, c.EndpointLimits
		l.RequestRate, l.ConnectRate = c.RequestRate, c.ConnectRate
	}
}

// Reload is node.Node.Reload; the nodes of later periods begin with the changes.
func (m *Node[R, Q]) Reload(c node.Changes) error {
	r := &m.reloads
	r.mu.Lock()
	defer r.mu.Unlock()
	p := m.now.Load()
	if p == nil {
		return errEnding
	}
	c.EndpointLimits = maps.Clone(c.EndpointLimits)
	if err := p.Node.Reload(c); err != nil {
		return err
	}
	r.changes = &c
	return nil
}

// ReloadKeys is node.Node.ReloadKeys; the nodes of later periods begin with these keys.
func (m *Node[R, Q]) ReloadKeys() (changes node.KeyChanges, err error) {
	r := &m.reloads
	r.mu.Lock()
	defer r.mu.Unlock()
	p := m.now.Load()
	if r.keys == nil || p == nil {
		return node.KeyChanges{}, nil
	}
	ring, err := node.ReadKeysAgain(m.cfg.Node.KeysFile)
	if err != nil {
		return node.KeyChanges{}, err
	}
	r.keys = ring
	return p.Node.SetKeys(ring), nil
}

// ReloadTLS is node.Node.ReloadTLS; the nodes of later periods begin with this certificate.
func (m *Node[R, Q]) ReloadTLS() (leaf *x509.Certificate, err error) {
	r := &m.reloads
	r.mu.Lock()
	defer r.mu.Unlock()
	p := m.now.Load()
	if r.tls == nil || p == nil {
		return nil, nil
	}
	c, err := m.cfg.Node.TLS.Load()
	if err != nil {
		return nil, err
	}
	r.tls = c
	p.Listener().SetTLS(c)
	return c.Certificates[0].Leaf, nil
}

// Reload is Node.Reload.
func (p *period[R, Q]) Reload(c node.Changes) error { return p.member.Reload(c) }

// ReloadKeys is Node.ReloadKeys.
func (p *period[R, Q]) ReloadKeys() (changes node.KeyChanges, err error) {
	return p.member.ReloadKeys()
}

// ReloadTLS is Node.ReloadTLS.
func (p *period[R, Q]) ReloadTLS() (leaf *x509.Certificate, err error) { return p.member.ReloadTLS() }
