package node

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"sluice/actors/node/inspect"
	"sluice/actors/sequencer"
	"sluice/durability"
	"sluice/durability/journal"
)

// Skip has every later start leave out an event on which the application panics, so that the node
// can start again. The next start journals that. The event stays in the journal, and what it caused
// in an earlier run is undone: clients may have been told of it. It is for an operator who cannot
// start a program that applies the event.
//
// The node of the data directory must not run: the error is then journal.ErrLocked. Otherwise it
// says why the event cannot be left out: the journal does not have it, a snapshot includes it, or it
// is none of those that an application is given.
func Skip(dataDir string, seq uint64) error {
	if err := notMember(dataDir, "no event is left out on one node only",
		"start a program that applies the event, on all members"); err != nil {
		return err
	}
	path := filepath.Join(dataDir, journalFolder)
	unlock, err := journal.Lock(path)
	if err != nil {
		return err
	}
	return errors.Join(skip(dataDir, path, durability.Seq(seq)), unlock())
}

func skip(dataDir, path string, seq durability.Seq) error {
	log, err := journal.Inspect(path)
	if err != nil {
		return err
	}
	skips, err := inspect.ReadSkips(dataDir, log.Directory)
	if err != nil {
		return err
	}
	if slices.Contains(skips, seq) {
		return nil
	}
	if seq < log.First || seq > log.Last {
		return fmt.Errorf("node: event %d is not in the journal, which has %d to %d", seq, log.First,
			log.Last)
	}
	for _, s := range log.Snapshots {
		if !s.Damaged && seq <= s.Seq {
			return fmt.Errorf("node: event %d is part of the snapshot after event %d; leaving it "+
				"out would change nothing", seq, s.Seq)
		}
	}
	for ev, err := range log.Events() {
		if err != nil {
			return err
		}
		if ev.Seq != seq {
			continue
		}
		var e sequencer.Event
		if err := sequencer.DecodeEvent(ev.Payload, &e); err != nil {
			return fmt.Errorf("node: event %d: %w", seq, err)
		}
		if e.Kind > sequencer.KindTick {
			return fmt.Errorf("node: event %d is a %s, which no application is given; only a "+
				"request, a begin or end of a connection, or a tick can be left out", seq, e.Kind)
		}
		break
	}
	return writeSkips(dataDir, log.Directory, append(skips, seq))
}

// writeSkips replaces the list of the events that replays leave out, one a line. It stays beside the
// journal as long as the journal has those events.
func writeSkips(dataDir string, owner journal.Identity, skips []durability.Seq) error {
	var b []byte
	for _, seq := range skips {
		b = append(strconv.AppendUint(b, uint64(seq), 10), '\n')
	}
	owned := journal.AppendOwned(nil, owner, b)
	if err := writeDurably(filepath.Join(dataDir, skipsFile), owned); err != nil {
		return fmt.Errorf("node: writing the list of skipped events: %w", err)
	}
	return nil
}
