package node

import (
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"

	"sluice/transport"
	"sluice/transport/listen"
	"sluice/transport/secure"
)

// Changes are the parts of a configuration that may change while the node runs. All of them are
// given each time.
type Changes struct {
	Limits         transport.Limits            // of endpoints that are not named below
	EndpointLimits map[string]transport.Limits // by Endpoint.Name
	RequestRate    listen.Rate
	ConnectRate    listen.Rate
}

// Reload puts changes in force. On an error nothing has changed.
func (n *Node[R, Q]) Reload(c Changes) error {
	c.EndpointLimits = maps.Clone(c.EndpointLimits) // the caller's map stays the caller's
	classes, err := n.classes(c.Limits, c.EndpointLimits)
	if err != nil {
		return err
	}
	n.operators.mu.Lock()
	defer n.operators.mu.Unlock()
	before := n.operators.changes
	if err := n.listener.SetRates(c.RequestRate, c.ConnectRate); err != nil {
		return err
	}
	if err := n.pipeline.SetLimits(classes); err != nil {
		return errors.Join(err, n.listener.SetRates(before.RequestRate, before.ConnectRate))
	}
	n.operators.changes = c
	return nil
}

// ReloadKeys puts the keys file in force as it is now (SetKeys), and returns what changed; nothing if the
// node has no keys file. On an error nothing has changed. The file must be a regular one; if the file
// system does not answer, nothing waits but this call and those after it.
func (n *Node[R, Q]) ReloadKeys() (changes KeyChanges, err error) {
	if n.cfg.KeysFile == "" {
		return KeyChanges{}, nil
	}
	n.operators.reloading.Lock()
	defer n.operators.reloading.Unlock()
	ring, err := ReadKeysAgain(n.cfg.KeysFile)
	if err != nil {
		return KeyChanges{}, err
	}
	return n.SetKeys(ring), nil
}

// ReloadTLS puts the certificate, its key and the authorities of clients in force as their files are now, for later
// connections, and returns the certificate; nil if the node has none. On an error nothing has changed.
func (n *Node[R, Q]) ReloadTLS() (leaf *x509.Certificate, err error) {
	if n.cfg.TLS == (secure.Files{}) {
		return nil, nil
	}
	n.operators.reloading.Lock()
	defer n.operators.reloading.Unlock()
	c, err := n.cfg.TLS.Load()
	if err != nil {
		return nil, err
	}
	n.listener.SetTLS(c)
	return c.Certificates[0].Leaf, nil
}

// ReadKeysAgain reads a keys file beside clients: a FIFO would hang, and has no keys the second time.
func ReadKeysAgain(path string) (*listen.Keyring, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("node: authorized keys: %s is not a regular file (%s), so it is not read again",
			path, info.Mode())
	}
	return listen.ReadKeys(path)
}

// limits makes a limits class for each endpoint, before anything starts.
func (n *Node[R, Q]) limits() error {
	common := transport.DefaultLimits()
	switch classes := len(n.cfg.Pipeline.Limits); {
	case classes > 1:
		return fmt.Errorf("node: Pipeline.Limits has %d classes; there is one for each endpoint, "+
			"see EndpointLimits", classes)
	case classes == 1:
		common = n.cfg.Pipeline.Limits[0]
	}
	if count := len(n.cfg.Listen.Endpoints); count > 255 {
		return fmt.Errorf("node: %d endpoints; at most 255", count)
	}
	n.cfg.EndpointLimits = maps.Clone(n.cfg.EndpointLimits)
	n.operators.changes = Changes{
		Limits: common, EndpointLimits: n.cfg.EndpointLimits,
		RequestRate: n.cfg.Listen.RequestRate, ConnectRate: n.cfg.Listen.ConnectRate,
	}
	classes, err := n.classes(common, n.cfg.EndpointLimits)
	if len(classes) > 0 {
		n.cfg.Pipeline.Limits = classes
	}
	return err
}

// classes are the limits of each endpoint, in their order: those of its name, else the common ones.
func (n *Node[R, Q]) classes(common transport.Limits,
	by map[string]transport.Limits) ([]transport.Limits, error) {
	all := make([]transport.Limits, len(n.cfg.Listen.Endpoints))
	named := 0
	for i := range all {
		l, ok := by[n.endpoint(uint8(i))]
		if all[i] = common; ok {
			all[i] = l
			named++
		}
	}
	if named < len(by) {
		for name := range by {
			if n.class(name) < 0 {
				return nil, fmt.Errorf("node: limits for %q, which is no endpoint; the first "+
					"one is %q", name, n.endpoint(0))
			}
		}
	}
	return all, nil
}

// endpoint names a limits class: there is one for each endpoint.
func (n *Node[R, Q]) endpoint(class uint8) string {
	return n.cfg.Listen.Endpoints[class].String()
}

// class is the limits class of an endpoint's name, -1 if there is none.
func (n *Node[R, Q]) class(name string) int {
	for i := range n.cfg.Listen.Endpoints {
		if n.endpoint(uint8(i)) == name {
			return i
		}
	}
	return -1
}
