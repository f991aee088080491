package inspect

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"sluice/durability"
	"sluice/durability/journal"
)

// ReadSkips returns the events that an operator had left out of replays, which the file skips of a data
// directory lists, one a line; none if there is no file. It belongs to the directory owner.
func ReadSkips(dataDir string, owner journal.Identity) (skips []durability.Seq, err error) {
	path := filepath.Join(dataDir, "skips")
	text, err := journal.ReadOwned(path, owner)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("inspect: reading the list of skipped events: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		seq, err := strconv.ParseUint(strings.TrimSuffix(line, "\n"), 10, 64)
		if err != nil || seq == 0 {
			return nil, fmt.Errorf("inspect: %s: line %q is not the number of an event", path, line)
		}
		skips = append(skips, durability.Seq(seq))
	}
	return skips, nil
}

// Skips are the events that the next start leaves out.
func (j *Journal) Skips() []durability.Seq { return j.skips }
