package sequencer

import (
	"errors"
	"io"
	"testing"

	"sluice/durability"
)

// A snapshot that panics ends the sequencer, but takes no output of an event that is journaled.
func TestPanicInSnapshotKeepsOutputs(t *testing.T) {
	snapshots := NewSnapshots(func(durability.Seq, []byte) error { return nil }, func(error) {})
	defer snapshots.Close()
	st := newStage(t, 4, func(c *Config[report, report]) {
		c.Snapshots, c.SnapshotEvents = snapshots, 1
	})
	st.seq.cfg.Application = sickSnapshot{st.app}
	st.put(1, tagEvent, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
	wait := st.run()
	reports := 0
	for last := false; !last; {
		st.take()
		for _, s := range st.pass() {
			reports, last = reports+1, s.Last
		}
		if st.slots.Done() {
			break
		}
	}
	if reports != 10 {
		t.Errorf("%d outputs of 10 before the panic of the snapshot", reports)
	}
	var panicked *PanicError
	if err := wait(); !errors.As(err, &panicked) {
		t.Errorf("ended with %v", err)
	}
}

type sickSnapshot struct{ *script }

func (sickSnapshot) Snapshot(io.Writer) error { panic("planted") }
