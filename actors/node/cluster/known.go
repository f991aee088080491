package cluster

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"sluice/transport/peer"
)

// knownFile has the identity of the data of each other member, as it was when this one first met it, and
// its last start.
const knownFile = "known"

// known refuses members that have lost their data. A member with an empty disk has forgotten which
// entries it acknowledged, and whom it voted for: with it, the others might elect a leader that lacks
// acknowledged events. The same holds for an older copy of its data. Any goroutine.
type known struct {
	dir  string
	mu   sync.Mutex // guards all below, and the file
	data map[uint8]peer.Data
}

// readKnown reads what a data directory says of the other members.
func readKnown(dir string) (*known, error) {
	k := &known{dir: dir, data: make(map[uint8]peer.Data)}
	file, err := os.ReadFile(filepath.Join(dir, knownFile))
	if errors.Is(err, os.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cluster: the data of the other members: %w", err)
	}
	for line := range strings.Lines(string(file)) {
		var node uint8
		var id string
		var d peer.Data
		_, err := fmt.Sscanf(line, "%d %s %d %x\n", &node, &id, &d.Incarnation, &d.Start)
		b, hexErr := hex.DecodeString(id)
		if err != nil || hexErr != nil || len(b) != len(d.Directory) {
			return nil, fmt.Errorf("cluster: %s has the line %q; want the number of a member, the identity of its data, "+
				"and its last start: restore the file from a backup", filepath.Join(dir, knownFile), strings.TrimSpace(line))
		}
		d.Directory = [16]byte(b)
		k.data[node] = d
	}
	return k, nil
}

// check reports why a member cannot take part with its data. Which data it has, and its start, are kept on
// disk before it can.
func (k *known) check(node uint8, data peer.Data) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	before, met := k.data[node]
	switch {
	case met && before == data:
		return nil
	case met && before.Directory != data.Directory:
		return fmt.Errorf("the data directory of node %d was made anew: it was %x, and is %x now. A member that has "+
			"lost its data has forgotten what it acknowledged, and cannot come back to this cluster: start it on "+
			"the directory that it had", node, before.Directory[:4], data.Directory[:4])
	case met && data.Incarnation <= before.Incarnation:
		return fmt.Errorf("node %d runs on an older copy of its data directory, or a second time: its start number %d "+
			"comes after number %d. A copy has forgotten what was acknowledged since: do not start it again, and "+
			"start the node on the directory that it had", node, data.Incarnation, before.Incarnation)
	}
	k.data[node] = data
	if err := k.write(); err != nil {
		if k.data[node] = before; !met {
			delete(k.data, node)
		}
		return fmt.Errorf("start number %d of node %d cannot be kept on disk: %w", data.Incarnation, node, err)
	}
	return nil
}

func (k *known) write() error {
	var b bytes.Buffer
	for node := uint8(1); node != 0; node++ {
		if data, met := k.data[node]; met {
			fmt.Fprintf(&b, "%d %x %d %x\n", node, data.Directory, data.Incarnation, data.Start)
		}
	}
	return write(k.dir, knownFile, b.Bytes())
}
