package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// startsFile has a random number for each start of a member on its data directory. Members that have met
// one of these starts know by it whether a later one follows: a copy of the directory that was made before
// has another number in its place.
const startsFile = "starts"

const startsHead = "sluice-starts 1"

// begin enters a start in a data directory, on disk, and returns the numbers of all starts, by incarnation
// from 1. That of a start which never spoke to another member is 0.
func begin(dir string, incarnation uint64) ([]uint32, error) {
	path := filepath.Join(dir, startsFile)
	starts, err := readStarts(path)
	if err != nil {
		return nil, fmt.Errorf("cluster: the starts of this member, %s: %w", path, err)
	}
	if n := uint64(len(starts)); n >= incarnation {
		return nil, fmt.Errorf("cluster: %s has start number %d, and by the journal this one is number %d: files of "+
			"the directory are older than others. Start the node on the whole directory that it had, or "+
			"replace it with "+
			"sluice cluster replace", path, n, incarnation)
	}
	starts = append(starts, make([]uint32, incarnation-uint64(len(starts)))...)
	starts[incarnation-1] = 1 + rand.Uint32N(1<<32-1)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n", startsHead)
	for _, s := range starts {
		fmt.Fprintf(&b, "%08x\n", s)
	}
	fmt.Fprintf(&b, "crc32c %08x\n", checksum(b.Bytes()))
	if err := write(dir, startsFile, b.Bytes()); err != nil {
		return nil, fmt.Errorf("cluster: entering start number %d of this member: %w", incarnation, err)
	}
	return starts, nil
}

func readStarts(path string) (starts []uint32, err error) {
	file, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lines, err := sealedLines(file, startsHead)
	for _, line := range lines {
		var s uint32
		if _, err := fmt.Sscanf(line, "%08x", &s); err != nil {
			return nil, fmt.Errorf("the line %q: %w", line, err)
		}
		starts = append(starts, s)
	}
	return starts, err
}
