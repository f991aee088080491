package cluster

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"sluice/durability/raftlog"
	"sluice/transport/peer"
)

// knownFile has the identity of the data of each other member, as it was when this one first met it, and
// its last start.
const knownFile = "known"

const knownHead = "sluice-known 1"

// known refuses members that have lost their data. A member with an empty disk has forgotten which
// entries it acknowledged, and whom it voted for: with it, the others might elect a leader that lacks
// acknowledged events. The same holds for an older copy of its data. Any goroutine.
//
//	original      1 --- 2 --- 3 --- 4         number of each start, with a random number
//	copy of 2             \
//	                       3' --- 4' --- 5'   a member that has met 3 refuses all of these
type known struct {
	dir string
	mu  sync.Mutex      // guards all below, and the file
	met map[uint64]meet // by id in the log
}

// meet is the last start of another member that this one has met.
type meet struct {
	directory   [16]byte // identity of the data
	incarnation uint64
	start       uint32 // its random number, see begin
}

// readKnown reads what a data directory says of the other members.
func readKnown(dir string) (*known, error) {
	k := &known{dir: dir, met: make(map[uint64]meet)}
	path := filepath.Join(dir, knownFile)
	file, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cluster: the data of the other members: %w", err)
	}
	lines, err := sealedLines(file, knownHead)
	if err != nil {
		return nil, fmt.Errorf("cluster: the data of the other members, %s: %w", path, err)
	}
	for _, line := range lines {
		var node, generation uint8
		var id string
		var m meet
		_, err := fmt.Sscanf(line, "%d %d %s %d %x", &node, &generation, &id, &m.incarnation, &m.start)
		b, hexErr := hex.DecodeString(id)
		if err != nil || hexErr != nil || len(b) != len(m.directory) || m.incarnation == 0 {
			return nil, fmt.Errorf("cluster: %s has the line %q; want number and generation of a member, the identity "+
				"of its data, and its last start: restore the file from a backup", path, line)
		}
		m.directory = [16]byte(b)
		k.met[raftlog.NodeID(node, generation)] = m
	}
	return k, nil
}

// check reports why a member cannot take part with its data. Which data it has, and its start, are kept on
// disk before it can.
func (k *known) check(node uint8, data peer.Data) error {
	if n := uint64(len(data.Starts)); n == 0 || n != data.Incarnation {
		return fmt.Errorf("node %d names %d starts, and says that this is number %d: upgrade the older node", node, n,
			data.Incarnation)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	id := raftlog.NodeID(node, data.Generation)
	last, met := k.met[id]
	now := meet{data.Directory, data.Incarnation, data.Starts[data.Incarnation-1]}
	switch {
	case met && last == now:
		return nil
	case met && last.directory != now.directory:
		return fmt.Errorf("the data directory of node %d was made anew: it was %x, and is %x now. A member that has "+
			"lost its data has forgotten what it acknowledged, and cannot come back to this cluster: start it on "+
			"the directory that it had, or replace it with sluice cluster replace", node, last.directory[:4], now.directory[:4])
	case met && !last.precedes(data.Starts):
		return fmt.Errorf("node %d runs on an older copy of its data directory, or a second time: its start number %d "+
			"does not follow number %d, which was met here. A copy has forgotten what was acknowledged "+
			"since: do not start "+
			"it again, and start the node on the directory that it had", node, now.incarnation, last.incarnation)
	}
	k.met[id] = now
	if err := k.write(); err != nil {
		if k.met[id] = last; !met {
			delete(k.met, id)
		}
		return fmt.Errorf("start number %d of node %d cannot be kept on disk: %w", data.Incarnation, node, err)
	}
	return nil
}

// precedes reports that a start is one of those that a member names, before the last one.
func (m meet) precedes(starts []uint32) bool {
	return m.incarnation < uint64(len(starts)) && starts[m.incarnation-1] == m.start
}

func (k *known) write() error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n", knownHead)
	for _, id := range slices.Sorted(maps.Keys(k.met)) {
		m := k.met[id]
		fmt.Fprintf(&b, "%d %d %x %d %08x\n", uint8(id), raftlog.Generation(id), m.directory, m.incarnation, m.start)
	}
	fmt.Fprintf(&b, "crc32c %08x\n", checksum(b.Bytes()))
	return write(k.dir, knownFile, b.Bytes())
}
