package inspect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"

	"sluice/actors/sequencer"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/durability/raftlog"
)

// Application is the part of an application that a listing needs. Every sequencer.Application has it;
// one that is a sequencer.Describer too puts its requests in words.
type Application interface {
	Requests() []sequencer.RequestType
}

// Journal is the journal of a data directory. It may be used by one goroutine at a time.
type Journal struct {
	dir   string // of the node
	log   *journal.Log
	past  *raftlog.Past // of a member of a cluster; nil for a single node
	table *sequencer.Table
	words sequencer.Describer // nil if the application is none

	restorer Restorer         // likewise
	empty    []byte           // snapshot of the empty application; nil if there is none yet
	skips    []durability.Seq // events that the next start leaves out
	rules    uint32           // of the state that Begin or Restore gave
}

// Restorer is an Application that can be given the state of a snapshot, as every sequencer.Application can.
// Verify then restores what a start would restore.
type Restorer interface {
	Restore(r io.Reader) error
}

// Open verifies the journal below a node's data directory, with its snapshots and the files beside it. It
// reads everything once. The error names the file and the place; see journal.Inspect. The Journal that is returned
// with it has what could be read: see Contents.
func Open(dataDir string, app Application) (*Journal, error) {
	table, err := sequencer.NewTable(app.Requests())
	if err != nil {
		return nil, err
	}
	j := &Journal{dir: dataDir, table: table}
	j.words, _ = app.(sequencer.Describer)
	j.restorer, _ = app.(Restorer)
	return j, j.open()
}

func (j *Journal) open() (err error) {
	if err := j.read(); err != nil {
		return err
	}
	if j.empty, err = j.genesis(); err != nil {
		return err
	}
	j.skips, err = ReadSkips(j.dir, j.log.Directory)
	return err
}

// genesis returns the snapshot of the empty application. It accepts a missing file if there is no event
// yet, as a start does.
func (j *Journal) genesis() ([]byte, error) {
	path := filepath.Join(j.dir, "genesis")
	empty, err := journal.ReadOwned(path, j.log.Directory)
	switch {
	case errors.Is(err, os.ErrNotExist) && j.log.Backup:
		return nil, fmt.Errorf("inspect: %s is missing; this backup is damaged: use another one", path)
	case errors.Is(err, os.ErrNotExist) && j.Last() == 0:
		return nil, nil
	case errors.Is(err, os.ErrNotExist) && j.past != nil:
		return nil, fmt.Errorf("inspect: %s is missing, and the node does not start without it: replace "+
			"it with sluice "+
			"cluster replace", path)
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("inspect: %s is missing, and the node does not start without it; restore "+
			"the whole directory from a backup", path)
	case j.past != nil:
		err = raftlog.Damaged(err)
	}
	return empty, err
}

// Genesis is the snapshot of the empty application that the node was made with; nil if there is none yet.
func (j *Journal) Genesis() []byte { return j.empty }

// Begin gives app the state of the empty application that the node was made with, which a start gives it
// before the first event. A nil app has it checked only.
func (j *Journal) Begin(app Restorer) error {
	j.rules = 0
	if app == nil || j.empty == nil {
		return nil
	}
	if err := app.Restore(bytes.NewReader(j.empty)); err != nil {
		return fmt.Errorf("inspect: %s: %w", filepath.Join(j.dir, "genesis"), err)
	}
	return nil
}

// Restore gives app what a start would give it before the events after Snapshot. A nil app has it checked
// only.
func (j *Journal) Restore(app Restorer) error {
	if err := j.Begin(app); err != nil {
		return err
	}
	return j.log.Restore(func(r io.Reader) error { return j.restoreSection(r, app) })
}

// Rules is the version of the application's rules in force at the state that Begin or Restore gave last.
func (j *Journal) Rules() uint32 { return j.rules }

// records decodes the events of the journal in order. An error ends it.
func (j *Journal) records() iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		v := validator{cut: j.First() > 1, keys: make(map[uint32][8]byte)}
		var r Record
		for e, err := range j.Events() {
			var ev sequencer.Event
			if err == nil {
				if err = sequencer.DecodeEvent(e.Payload, &ev); err != nil {
					err = fmt.Errorf("inspect: event %d: %w%s", e.Seq, err, j.strange(e.Payload))
				}
			}
			if err == nil {
				ev.Seq = uint64(e.Seq)
				err = v.check(&ev)
			}
			if errors.Is(err, journal.ErrRemoved) {
				err = fmt.Errorf("inspect: the running server removed events while they were read; repeat the command: %w", err)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			j.describe(&r, &ev, len(e.Payload))
			r.Term, r.Uncommitted = e.Term, e.Seq > j.Committed()
			if !yield(&r, nil) {
				return
			}
		}
	}
}

// validator checks what one event says against the events before it.
type validator struct {
	cut     bool // events before the first one were removed, with what they introduced
	time    int64
	outputs uint64
	keys    map[uint32][8]byte // by number of identity
}

// check fills in the key of the event's identity.
func (v *validator) check(ev *sequencer.Event) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("inspect: event %d (%s): %s", ev.Seq, ev.Kind, fmt.Sprintf(format, args...))
	}
	if ev.Time < v.time {
		return wrong("its time is %s, the event before it has %s; time never falls",
			formatTime(ev.Time), formatTime(v.time))
	}
	v.time = ev.Time
	number := ev.Identity.Number
	if key, known := v.keys[number]; known {
		ev.Identity.Key = key
	} else if number != 0 && ev.Kind != sequencer.KindIdentity && !v.cut {
		return wrong("identity %d is not introduced by an event before it", number)
	}
	switch ev.Kind {
	case sequencer.KindIdentity:
		who := ev.Introduced()
		if key, known := v.keys[who.Number]; known && key != who.Key {
			return wrong("identity %d had key %x and has %x now", who.Number, key, who.Key)
		}
		v.keys[who.Number] = who.Key
	case sequencer.KindCheckpoint:
		_, outputs := ev.Checkpoint()
		if outputs < v.outputs {
			return wrong("it counts %d outputs, the checkpoint before it %d", outputs, v.outputs)
		}
		v.outputs = outputs
	case sequencer.KindSkip:
		if seq := ev.Skipped(); seq == 0 || seq >= ev.Seq {
			return wrong("it names event %d, which is not before it", seq)
		}
	}
	return nil
}
