package cluster

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// knownFile has the identity of the data of each other member, as it was when this one first met it.
const knownFile = "known"

// known refuses members that have lost their data. A member with an empty disk has forgotten which
// entries it acknowledged, and whom it voted for: with it, the others might elect a leader that lacks
// acknowledged events. Any goroutine.
type known struct {
	dir  string
	mu   sync.Mutex // guards all below, and the file
	data map[uint8][16]byte
}

// readKnown reads what a data directory says of the other members.
func readKnown(dir string) (*known, error) {
	k := &known{dir: dir, data: make(map[uint8][16]byte)}
	file, err := os.ReadFile(filepath.Join(dir, knownFile))
	if errors.Is(err, os.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cluster: the data of the other members: %w", err)
	}
	for line := range strings.Lines(string(file)) {
		number, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		node, err := strconv.ParseUint(number, 10, 8)
		id, hexErr := hex.DecodeString(text)
		if err != nil || hexErr != nil || len(id) != 16 {
			return nil, fmt.Errorf("cluster: %s has the line %q; want the number of a member and 32 hexadecimal "+
				"digits: restore the file from a backup", filepath.Join(dir, knownFile), strings.TrimSpace(line))
		}
		k.data[uint8(node)] = [16]byte(id)
	}
	return k, nil
}

// check reports why a member cannot take part with its data. The data of one that is met for the first
// time is kept on disk before it can.
func (k *known) check(node uint8, data [16]byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	before, met := k.data[node]
	switch {
	case met && before == data:
		return nil
	case met:
		return fmt.Errorf("the data directory of node %d was made anew: it was %x, and is %x now. A member that has "+
			"lost its data has forgotten what it acknowledged, and cannot come back to this cluster: start it on "+
			"the directory that it had", node, before[:4], data[:4])
	}
	k.data[node] = data
	if err := k.write(); err != nil {
		delete(k.data, node)
		return fmt.Errorf("node %d was not met before, and that cannot be kept on disk: %w", node, err)
	}
	return nil
}

func (k *known) write() error {
	var b bytes.Buffer
	for node := uint8(1); node != 0; node++ {
		if data, met := k.data[node]; met {
			fmt.Fprintf(&b, "%d %x\n", node, data)
		}
	}
	return write(k.dir, knownFile, b.Bytes())
}
